#include "store/base/log.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/support/temp_dir.h"

namespace varve {
namespace {

using testing::TempDir;

std::string Content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Leaves the process's log as other tests expect it.
class LogTest : public ::testing::Test {
 protected:
  void TearDown() override { ASSERT_TRUE(InitLog({.level = LogLevel::kWarning}).ok()); }
};

TEST_F(LogTest, FormatsEveryKindOfValue) {
  EXPECT_EQ(FormatLogLine("{} {} {} {:x} {} {:.2f}",
                          {"text", std::string("string"), -5, uint64_t{255}, true, 1.5}),
            "text string -5 ff true 1.50");
  EXPECT_EQ(FormatLogLine("{{}} {}", {Status(Code::kCorrupt, "pack 7")}), "{} corrupt: pack 7");
}

TEST_F(LogTest, ControlCharactersCannotForgeALine) {
  EXPECT_EQ(FormatLogLine("opened {}", {"a\nvarve: error: all is lost\x1b[2J"}),
            "opened a\\x0avarve: error: all is lost\\x1b[2J");
  EXPECT_EQ(FormatLogLine("{}", {"grüße {}"}), "grüße {}");
}

TEST_F(LogTest, AWrongFormatDoesNotCostTheLine) {
  EXPECT_EQ(FormatLogLine("{:d}", {"text"}), "{:d}");
  EXPECT_EQ(FormatLogLine("{} {}", {1}), "{} {}");
}

TEST_F(LogTest, WritesToAFileFromItsLevelOn) {
  const TempDir directory;
  const std::string path = directory / "log.txt";
  ASSERT_TRUE(InitLog({.standard_error = false, .file = path}).ok());
  LogDebug("not {}", "this");
  LogInfo("started {} of {}", 1, 2);
  LogWarning("careful");
  LogError("failed: {}", Status::Errno(EIO, "sync x"));
  const std::string content = Content(path);
  EXPECT_EQ(content.find("not this"), std::string::npos) << content;
  EXPECT_NE(content.find(" info: started 1 of 2\n"), std::string::npos) << content;
  EXPECT_NE(content.find(" warning: careful\n"), std::string::npos) << content;
  EXPECT_NE(content.find(" error: failed: I/O error: sync x (Input/output error)\n"),
            std::string::npos)
      << content;
}

TEST_F(LogTest, RotatesAndKeepsThree) {
  const TempDir directory;
  const std::string path = directory / "log.txt";
  ASSERT_TRUE(InitLog({.standard_error = false, .file = path}).ok());
  const std::string long_text(64 << 10, 'x');
  for (int i = 0; i < 400; ++i) LogInfo("{} {}", i, long_text);
  uint64_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory.path())) {
    ++files;
    EXPECT_LE(entry.file_size(), 5U << 20);
  }
  EXPECT_EQ(files, 4U);
  EXPECT_NE(Content(path).find("399 xx"), std::string::npos);
}

TEST_F(LogTest, AFileThatCannotBeOpenedLeavesTheLogAsItWas) {
  const TempDir directory;
  const std::string path = directory / "log.txt";
  ASSERT_TRUE(InitLog({.standard_error = false, .file = path}).ok());
  const Status status = InitLog({.file = "/proc/nowhere/log.txt"});
  EXPECT_FALSE(status.ok());
  LogInfo("still here");
  EXPECT_NE(Content(path).find("still here"), std::string::npos);
}

}  // namespace
}  // namespace varve
