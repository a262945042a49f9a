# Builds the extension with PGXS. The folders are the source lists.
#
# Builds in the directory that it is called in: `make -C /some/where -f $PWD/Makefile` leaves this
# tree alone. FAULTS=1 makes a test build (src/pg/faults.h, test/pg) in tmp_faults/ and, with
# `root`, installs it into a server copy of its own.
PG_CONFIG ?= pg_config
SOURCE := $(patsubst %/,%,$(dir $(abspath $(firstword $(MAKEFILE_LIST)))))
PREFIX := $(shell $(PG_CONFIG) --bindir)
ifeq ($(PREFIX),)
$(error $(PG_CONFIG) not found: install the server's headers or set PG_CONFIG)
endif

EXTENSION     = orchestra
MODULE_big    = orchestra
DATA          = $(patsubst $(SOURCE)/%,%,$(wildcard $(SOURCE)/sql/install/orchestra--*.sql))
SHLIB_EXPORTS = exports.txt
FOLDERS       = src/core src/net src/pg $(if $(FAULTS),test/pg)
SOURCES      := $(foreach folder,$(FOLDERS),$(wildcard $(SOURCE)/$(folder)/*.cpp))
OBJS         := $(patsubst $(SOURCE)/%.cpp,$(CURDIR)/%.o,$(SOURCES))
EXTRA_CLEAN   = exports.list $(OBJS:.o=.d)

PG_CPPFLAGS   = -I$(SOURCE)/src -I$(libpq_srcdir) $(if $(FAULTS),-DORCHESTRA_FAULTS)
PG_CXXFLAGS   = -std=c++20 -Wall -Wextra -Werror -MMD -MP
SHLIB_LINK    = -lssl -lcrypto
SHLIB_LINK_INTERNAL = $(libpq)

# The C++ driver links (libstdc++, unwinder), also as COMPILER of Makefile.shlib. Inlining by the
# JIT buys a background worker nothing.
override COMPILER  = $(CXX) $(CXXFLAGS)
override with_llvm = no

PGXS := $(shell $(PG_CONFIG) --pgxs)
all:
include $(PGXS)
-include $(OBJS:.o=.d)

# Objects have absolute names, and nothing but these is looked for elsewhere: two builds of one tree
# must never take each other's files.
override VPATH =
vpath exports.txt $(SOURCE)
$(shell mkdir -p $(FOLDERS))
$(OBJS): $(CURDIR)/%.o: $(SOURCE)/%.cpp
	$(CXX) $(CXXFLAGS) $(CPPFLAGS) -c -o $@ $<

# ---- A copy of the server with orchestra in it, so that nothing is installed into the system.
# PostgreSQL finds its files relative to its programs. Tests take their programs from SERVER_BIN.
ROOT ?= $(CURDIR)/tmp_root$(if $(FAULTS),_faults)
SERVER_BIN = $(ROOT)$(PREFIX)

ifeq ($(FAULTS)$(CURDIR),1$(SOURCE))
.PHONY: faults-root
root: faults-root ;
faults-root:
	@mkdir -p tmp_faults
	@$(MAKE) --no-print-directory -C tmp_faults -f $(SOURCE)/Makefile root ROOT=$(ROOT)
else
root: all
	@test -e $(ROOT)/.complete || { rm -rf $(ROOT) && \
	  mkdir -p $(ROOT)$(dir $(PREFIX)) $(ROOT)$(datadir) && \
	  cp -a $(PREFIX)/.. $(ROOT)$(dir $(PREFIX)) && cp -aL $(datadir)/. $(ROOT)$(datadir) && \
	  touch $(ROOT)/.complete; }
	@$(MAKE) --no-print-directory -s -f $(SOURCE)/Makefile install DESTDIR=$(ROOT)
endif
.PHONY: root

# The product has no switch that turns a safety rule off.
.PHONY: check-no-faults
check-no-faults: all
	@if strings -a orchestra.so | grep -q ORCHESTRA_FAULT; then \
	  echo "orchestra.so reads ORCHESTRA_FAULT" >&2; exit 1; fi

-include $(SOURCE)/mk/*.mk
