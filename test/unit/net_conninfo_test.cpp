#include "net/conninfo.h"

#include <gtest/gtest.h>

namespace orchestra::net {
namespace {

const Address kPeer{"127.0.0.2", 6543};

std::string ConninfoOf(const std::string& own, const ConninfoOptions& defaults = {},
                       const ConninfoOptions& forced = {}) {
  const ConninfoResult result = PeerConninfo(own, kPeer, defaults, forced);
  EXPECT_EQ(result.error, "");
  return result.conninfo;
}

TEST(PeerConninfo, OnlyTheAddressChanges) {
  EXPECT_EQ(ConninfoOf(""), "host='127.0.0.2' port='6543'");
  EXPECT_EQ(ConninfoOf("host=10.0.0.1 hostaddr=10.0.0.1 port=1 target_session_attrs=primary "
                       "sslmode=require passfile=/a/b"),
            "host='127.0.0.2' passfile='/a/b' port='6543' sslmode='require'");
}

TEST(PeerConninfo, DefaultsGiveWayAndForcedOptionsDoNot) {
  EXPECT_EQ(ConninfoOf("", {{"user", "orchestra"}}),
            "host='127.0.0.2' port='6543' user='orchestra'");
  EXPECT_EQ(ConninfoOf("user=other dbname=x", {{"user", "orchestra"}}, {{"dbname", "postgres"}}),
            "dbname='postgres' host='127.0.0.2' port='6543' user='other'");
  EXPECT_EQ(ConninfoOf("options='-c a=b'", {}, {{"options", "-c c=d"}}),
            "host='127.0.0.2' options='-c a=b -c c=d' port='6543'");
}

TEST(PeerConninfo, QuotesSurvive) {
  EXPECT_EQ(ConninfoOf("passfile='/a b/\\'c\\\\d'", {}, {{"application_name", "x'y\\z"}}),
            "application_name='x\\'y\\\\z' host='127.0.0.2' passfile='/a b/\\'c\\\\d' "
            "port='6543'");
}

TEST(RoleConninfo, AsksForTlsButOnThisMachine) {
  struct Case {
    const char* own;
    const char* host;
    const char* sslmode;  // null: what libpq would do
  };
  for (const Case& c : {Case{"", "10.0.0.1", "require"}, Case{"", "2001:db8::1", "require"},
                        Case{"", "127.0.0.1", nullptr}, Case{"", "::1", nullptr},
                        Case{"", "/run/postgresql", nullptr},
                        Case{"sslmode=verify-full", "10.0.0.1", "verify-full"},
                        Case{"sslmode=disable", "10.0.0.1", "disable"}}) {
    const ConninfoResult result = RoleConninfo(c.own, {c.host, 5432}, "orchestra", "x", "y");
    const std::size_t at = std::min(result.conninfo.find("sslmode="), result.conninfo.size());
    EXPECT_EQ(at < result.conninfo.size(), c.sslmode != nullptr) << c.host;
    const std::string wanted = c.sslmode ? std::string("sslmode='") + c.sslmode + "'" : "";
    const std::string found = c.sslmode ? result.conninfo.substr(at, wanted.size()) : "";
    EXPECT_EQ(found, wanted) << c.host;
    EXPECT_NE(result.conninfo.find("user='orchestra'"), std::string::npos);
  }
}

TEST(PeerConninfo, ABrokenStringIsNeverRepeated) {
  const ConninfoResult result = PeerConninfo("password='s3cret nonsense", kPeer, {}, {});
  EXPECT_EQ(result.conninfo, "");
  EXPECT_NE(result.error, "");
  EXPECT_EQ(result.error.find("s3cret"), std::string::npos);
}

}  // namespace
}  // namespace orchestra::net
