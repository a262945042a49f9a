# Builds the extension with PGXS. The folders are the source lists; `make help` lists what else there
# is (mk/*.mk).
#
# It builds in the directory that it is called in: `make -C /some/where -f $PWD/Makefile` leaves this
# tree alone. FAULTS=1 makes a build whose safety rules can be switched off (src/pg/faults.h).
PG_CONFIG ?= pg_config
SOURCE := $(patsubst %/,%,$(dir $(abspath $(firstword $(MAKEFILE_LIST)))))
# A copy of the server with orchestra in it, so that nothing gets installed into the system.
ROOT ?= $(CURDIR)/tmp_root

# PGXS has targets of the same names (check), and is not there before `make deps`: goals of mk/*.mk
# get no PGXS, and call make again for what needs it.
OWN_GOALS := $(shell sed -nE 's/^([a-z-]+):.*/\1/p' $(wildcard $(SOURCE)/mk/*.mk))
ifneq ($(filter $(OWN_GOALS),$(MAKECMDGOALS)),)
include $(wildcard $(SOURCE)/mk/*.mk)
else

PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq ($(wildcard $(PGXS)),)
$(error $(PG_CONFIG) names no server headers: `make deps` installs them, or set PG_CONFIG)
endif

EXTENSION     = orchestra
MODULE_big    = orchestra
DATA          = $(patsubst $(SOURCE)/%,%,$(wildcard $(SOURCE)/sql/install/orchestra--*.sql))
SHLIB_EXPORTS = exports.txt
objects_of    = $(patsubst $(SOURCE)/%.cpp,$(CURDIR)/%.o,$(wildcard $(SOURCE)/$(1)/*.cpp))
FOLDERS       = src/core src/net src/pg
OBJS         := $(foreach folder,$(FOLDERS),$(call objects_of,$(folder)))
TEST_OBJS    := $(call objects_of,test/pg)
EXTRA_CLEAN   = build exports.list .flavour orchestra_test.so $(ROOT) $(TEST_OBJS) \
                $(OBJS:.o=.d) $(TEST_OBJS:.o=.d)

PG_CPPFLAGS   = -I$(SOURCE)/src -I$(libpq_srcdir) $(if $(FAULTS),-DORCHESTRA_FAULTS)
# g++ 12 warns wrongly of moved std::variants.
PG_CXXFLAGS   = -std=c++20 -Wall -Wextra -Werror -MMD -MP \
                $(if $(findstring clang,$(CXX)),,-Wno-maybe-uninitialized)
SHLIB_LINK    = -lssl -lcrypto
SHLIB_LINK_INTERNAL = $(libpq)

# The C++ driver links (libstdc++, unwinder), also as COMPILER of Makefile.shlib. Inlining by the
# JIT buys a background worker nothing.
override COMPILER  = $(CXX) $(CXXFLAGS)
override with_llvm = no

all:
include $(PGXS)
-include $(OBJS:.o=.d) $(TEST_OBJS:.o=.d)

# Two builds of one tree must never take each other's files: objects have absolute names, nothing
# but these two is looked for elsewhere, and a change between product and test build makes all anew.
override VPATH =
vpath exports.txt $(SOURCE)
vpath orchestra.control $(SOURCE)
FLAVOUR := $(if $(FAULTS),test,product)
$(shell mkdir -p $(FOLDERS) test/pg; grep -qsx $(FLAVOUR) .flavour || echo $(FLAVOUR) >.flavour)
$(OBJS) $(TEST_OBJS): $(CURDIR)/%.o: $(SOURCE)/%.cpp .flavour
	$(CXX) $(CXXFLAGS) $(CPPFLAGS) -c -o $@ $<

# Functions for TAP tests, with the parts of the product that they are about. Never installed.
TEST_PARTS = guard gate gate_quorum senders worker
orchestra_test.so: $(TEST_OBJS) $(foreach part,$(TEST_PARTS),$(CURDIR)/src/pg/$(part).o) \
                   exports.list
	$(LINK.shared) -o $@ $(filter %.o,$^) $(LDFLAGS) $(LDFLAGS_SL)

# PostgreSQL finds its files relative to its programs, which are in $(ROOT)$(bindir) then.
.PHONY: root
root: all orchestra_test.so
	@test -e $(ROOT)/.complete-$(VERSION) || { rm -rf $(ROOT) && \
	  mkdir -p $(ROOT)$(dir $(bindir)) $(ROOT)$(datadir) && \
	  cp -a $(dir $(bindir)). $(ROOT)$(dir $(bindir)) && cp -aL $(datadir)/. $(ROOT)$(datadir) && \
	  touch $(ROOT)/.complete-$(VERSION); }
	@$(MAKE) --no-print-directory -s -f $(SOURCE)/Makefile install DESTDIR=$(ROOT)
	@install -m 755 orchestra_test.so $(ROOT)$(pkglibdir)

# The product has no switch that turns a safety rule off.
.PHONY: check-no-faults
check-no-faults: all
	@if strings -a orchestra.so | grep ORCHESTRA_FAULT; then exit 1; fi

endif
