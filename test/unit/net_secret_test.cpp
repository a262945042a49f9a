// The secret file: which ones are taken, and what is said of the others.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "net/secret.h"

namespace orchestra::net {
namespace {

class SecretFile : public testing::Test {
 protected:
  SecretFile() {
    std::string pattern = testing::TempDir() + "/orchestra_secret_XXXXXX";
    folder_ = mkdtemp(pattern.data());
    path_ = folder_ + "/secret";
  }
  ~SecretFile() override { std::filesystem::remove_all(folder_); }
  void Write(const std::string& bytes, mode_t mode = 0600) {
    std::ofstream(path_, std::ios::binary) << bytes;
    ASSERT_EQ(chmod(path_.c_str(), mode), 0);
  }
  // What is wrong with the file, or empty.
  std::string Problem() {
    const auto loaded = LoadSecret(path_);
    const auto* problem = std::get_if<std::string>(&loaded);
    return problem ? *problem : "";
  }
  std::string folder_, path_;
};

struct Content {
  const char* name;
  std::string bytes, expected;  // expected empty: refused
};
void PrintTo(const Content& content, std::ostream* os) { *os << content.name; }
class SecretContent : public SecretFile, public testing::WithParamInterface<Content> {};
TEST_P(SecretContent, IsTakenOrRefused) {
  Write(GetParam().bytes);
  const auto loaded = LoadSecret(path_);
  if (GetParam().expected.empty()) {
    ASSERT_TRUE(std::holds_alternative<std::string>(loaded));
    EXPECT_NE(Problem().find("must hold 16 to 4096 bytes"), std::string::npos) << Problem();
  } else {
    ASSERT_TRUE(std::holds_alternative<Secret>(loaded)) << Problem();
    EXPECT_EQ(std::get<Secret>(loaded).bytes(), GetParam().expected);
  }
}
const std::string k16 = "0123456789abcdef", k4096(4096, 'k');
INSTANTIATE_TEST_SUITE_P(
    Contents, SecretContent,
    testing::Values(Content{"Shortest", k16, k16}, Content{"NewlineTrimmed", k16 + "\n", k16},
                    Content{"OnlyOneNewlineTrimmed", k16 + "\n\n", k16 + "\n"},
                    Content{"Binary", std::string(16, '\0'), std::string(16, '\0')},
                    Content{"Longest", k4096, k4096},
                    Content{"LongestNewline", k4096 + "\n", k4096}, Content{"Empty", "", ""},
                    Content{"OnlyNewline", "\n", ""}, Content{"Short", k16.substr(1), ""},
                    Content{"ShortNewline", k16.substr(1) + "\n", ""},
                    Content{"Long", k4096 + "k", ""}, Content{"TooLongByFar", k4096 + k4096, ""}),
    [](const auto& info) { return info.param.name; });

struct Mode {
  mode_t mode;
  bool good;
};
void PrintTo(const Mode& mode, std::ostream* os) { *os << std::oct << mode.mode << std::dec; }
class SecretMode : public SecretFile, public testing::WithParamInterface<Mode> {};
TEST_P(SecretMode, IsChecked) {
  Write("a secret nobody may read", GetParam().mode);
  if (GetParam().good) {
    EXPECT_EQ(Problem(), "");
  } else {
    EXPECT_NE(Problem().find("chmod 600 " + path_), std::string::npos) << Problem();
    EXPECT_EQ(Problem().find("nobody may read"), std::string::npos) << "the secret is told";
  }
}
INSTANTIATE_TEST_SUITE_P(Modes, SecretMode,
                         testing::Values(Mode{0600, true}, Mode{0400, true}, Mode{0700, true},
                                         Mode{0640, false}, Mode{0604, false}, Mode{0620, false},
                                         Mode{0602, false}, Mode{0610, false}, Mode{0601, false},
                                         Mode{0644, false}),
                         [](const auto& info) {
                           return (info.param.good ? "Good" : "Bad") +
                                  std::to_string(info.param.mode);
                         });

TEST_F(SecretFile, Missing) {
  EXPECT_NE(Problem().find("No such file"), std::string::npos) << Problem();
  EXPECT_NE(Problem().find("chmod 600"), std::string::npos) << Problem();
}

TEST_F(SecretFile, Directory) {
  std::filesystem::create_directory(path_);
  EXPECT_NE(Problem().find("not a regular file"), std::string::npos) << Problem();
}

TEST_F(SecretFile, FifoDoesNotHang) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_NE(Problem().find("not a regular file"), std::string::npos) << Problem();
}

TEST_F(SecretFile, OfAnotherUser) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  Write(k16);
  ASSERT_EQ(chown(path_.c_str(), 65534, 65534), 0);
  EXPECT_NE(Problem().find("owned by"), std::string::npos) << Problem();
}

TEST_F(SecretFile, SymbolicLinkIsFollowed) {
  Write(k16);
  std::filesystem::create_symlink(path_, folder_ + "/link");
  EXPECT_TRUE(std::holds_alternative<Secret>(LoadSecret(folder_ + "/link")));
}

TEST(SecretBytes, MoveAndAreWipedWhereTheyWere) {
  Secret first("a secret that is longer than fifteen bytes");
  const char* where = first.bytes().data();
  const std::size_t size = first.bytes().size();
  const Secret second = std::move(first);
  EXPECT_EQ(second.bytes(), "a secret that is longer than fifteen bytes");
  EXPECT_TRUE(first.empty());  // NOLINT(bugprone-use-after-move): what is tested
  // The string keeps its memory, so this reads what it owns.
  EXPECT_EQ(std::string(where, size), std::string(size, '\0'));
}

}  // namespace
}  // namespace orchestra::net
