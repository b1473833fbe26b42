// What the commands decide by themselves, without a mount.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include "fs/cli/file_copy.h"
#include "fs/cli/restore_command.h"
#include "fs/cli/status_command.h"
#include "fs/cli/status_report.h"
#include "fs/cli/sync_command.h"
#include "fs/cli/time_text.h"
#include "tests/support/temp_dir.h"

namespace varve {
namespace {

class TimeTextTest : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("TZ", "UTC-2", 1);  // two hours ahead of UTC
    tzset();
  }
  void TearDown() override {
    unsetenv("TZ");
    tzset();
  }
  // 2026-03-01 14:05:09 here.
  const struct timespec now_ = {1772366709, 0};
  int64_t Seconds(std::string_view text) {
    const Result<struct timespec> time = ParseTime(text, now_);
    EXPECT_TRUE(time.ok()) << text;
    return time.ok() ? time->tv_sec : 0;
  }
};

TEST_F(TimeTextTest, FormatsAndParsesItsOwnForm) {
  EXPECT_EQ(FormatTime(now_), "2026-03-01 14:05:09");
  EXPECT_EQ(FormatTimeUtc({1772366709, 5}), "2026-03-01T12:05:09.000000005Z");
  EXPECT_EQ(Seconds("2026-03-01 14:05:09"), now_.tv_sec);
  EXPECT_EQ(Seconds("2026-03-01T12:05:09Z"), now_.tv_sec);
}

TEST_F(TimeTextTest, ACoarseTimeMeansItsEnd) {
  EXPECT_EQ(Seconds("2026-03-01 14:05"), now_.tv_sec + 50);
  EXPECT_EQ(Seconds("2026-03-01T14:05"), now_.tv_sec + 50);
  EXPECT_EQ(Seconds("14:05"), now_.tv_sec + 50);
  EXPECT_EQ(Seconds("2026-03-01"), 1772323200 - 7200 + 86399);
  EXPECT_EQ(ParseTime("14:05:09", now_)->tv_nsec, 999'999'999) << "all of that second";
}

TEST_F(TimeTextTest, Relative) {
  EXPECT_EQ(Seconds("90s ago"), now_.tv_sec - 90);
  EXPECT_EQ(Seconds("10 min ago"), now_.tv_sec - 600);
  EXPECT_EQ(Seconds("2h ago"), now_.tv_sec - 7200);
  EXPECT_EQ(Seconds(" 1 week ago "), now_.tv_sec - 604800);
  EXPECT_EQ(Seconds("@12"), 12);
}

TEST_F(TimeTextTest, RefusesWhatIsNoTime) {
  for (const char* text :
       {"", "yesterday", "14", "2026-13-01", "2026-03-01 14:05 x", "ago", "-5s ago",
        "5 fortnights ago", "@", "@1x", "99999999999999999999s ago"}) {
    EXPECT_EQ(ParseTime(text, now_).status().code(), Code::kInvalid) << text;
  }
}

TEST(StatusReport, ReadsValuesByPath) {
  const auto report = StatusReport::Parse(
      R"({"version": "1.2", "pending": {"files": 3, "oldest_seconds": 1.5},
          "durability": {"fenced": true, "reason": null}, "counters": {"a": 1, "b": 2}})");
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->Text("version"), "1.2");
  EXPECT_EQ(report->Number("pending/files"), 3u);
  EXPECT_EQ(report->Real("pending/oldest_seconds"), 1.5);
  EXPECT_TRUE(report->Flag("durability/fenced"));
  EXPECT_EQ(report->Text("durability/reason"), "");
  EXPECT_EQ(report->Below("counters"), (std::vector<std::string>{"counters/a", "counters/b"}));
  EXPECT_EQ(report->Number("not/there"), 0u);
}

TEST(StatusReport, RefusesWhatIsNoJsonObject) {
  for (const char* text : {"", "{", "[]", "3", "{\"a\": }"}) {
    EXPECT_EQ(StatusReport::Parse(text).status().code(), Code::kCorrupt) << text;
  }
}

TEST(StatusReport, IsDescribedWhateverIsMissing) {
  const auto report = StatusReport::Parse(
      R"({"fast_paths": {"passthrough": {"on": false, "reason": "not root"}}})");
  const std::string text = DescribeStatus({"/m", "/s"}, *report);
  EXPECT_NE(text.find("passthrough off (not root)"), std::string::npos) << text;
  EXPECT_NE(text.find("pending     nothing"), std::string::npos) << text;
}

StatusReport Report(int files, double oldest_seconds, int applied, int committed) {
  return *StatusReport::Parse(R"({"pending": {"files": )" + std::to_string(files) +
                              R"(, "oldest_seconds": )" + std::to_string(oldest_seconds) +
                              R"(}, "durability": {"applied": )" + std::to_string(applied) +
                              R"(, "committed": )" + std::to_string(committed) + "}}");
}

TEST(SyncCommand, IsDoneWhenWhatWasPendingIsGoneAndCommitted) {
  const StatusReport before = Report(2, 5, 100, 90);
  EXPECT_FALSE(AllDone(before, Report(1, 6, 100, 100), 1));
  EXPECT_FALSE(AllDone(before, Report(0, 0, 100, 99), 1)) << "not committed";
  EXPECT_TRUE(AllDone(before, Report(0, 0, 100, 100), 1));
  EXPECT_TRUE(AllDone(before, Report(4, 3, 200, 150), 10)) << "what is pending came later";
  EXPECT_FALSE(AllDone(before, Report(4, 0, 200, 150), 0.5)) << "it may have been rounded";
}

std::vector<VersionInfo> Versions() {
  std::vector<VersionInfo> versions(3);
  for (uint32_t i = 0; i < 3; ++i) {
    versions[i].number = 5 + i;
    versions[i].capture_time.tv_sec = 100 + 10 * static_cast<time_t>(i);
    versions[i].complete = i < 2;
  }
  return versions;
}

TEST(RestoreCommand, ChoosesAsAsked) {
  EXPECT_EQ(ChooseVersion(Versions(), {})->number, 7u);
  EXPECT_EQ(ChooseVersion(Versions(), {.number = 5, .not_after = {}})->number, 5u);
  EXPECT_EQ(ChooseVersion(Versions(), {.not_after = timespec{110, 0}})->number, 6u);
  EXPECT_EQ(ChooseVersion(Versions(), {.not_after = timespec{109, 999}})->number, 5u);
  EXPECT_EQ(ChooseVersion(Versions(), {.not_after = {}, .latest_complete = true})->number, 6u);
}

TEST(RestoreCommand, SaysWhatThereIsInstead) {
  const auto missing = ChooseVersion(Versions(), {.number = 9, .not_after = {}});
  EXPECT_EQ(missing.status().context(), "there is no version 9; there are 5 to 7");
  EXPECT_FALSE(ChooseVersion(Versions(), {.not_after = timespec{99, 0}}).ok());
}

TEST(VersionNumber, IsParsed) {
  EXPECT_EQ(ParseVersionNumber("0012"), 12u);
  EXPECT_EQ(ParseVersionNumber("123456"), 123456u);
  EXPECT_EQ(ParseVersionNumber("latest"), std::nullopt);
  EXPECT_EQ(ParseVersionNumber("12"), std::nullopt);
}

class CopyTest : public ::testing::Test {
 protected:
  void Write(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
  }
  std::string Read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  size_t Names() { return ListDirectory(directory_.path())->size(); }

  const testing::TempDir directory_;
};

TEST_F(CopyTest, KeepsBytesModeAndTime) {
  const std::string bytes(3 << 20, 'x');
  Write(directory_ / "a", bytes);
  CopyTarget target;
  target.path = directory_ / "b";
  target.mode = 0640;
  target.modify_time = {1234, 5678};
  uint64_t last = 0;
  ASSERT_TRUE(
      CopyFile(directory_ / "a", target, [&](uint64_t done, uint64_t) { last = done; }).ok());
  EXPECT_EQ(Read(target.path), bytes);
  EXPECT_EQ(last, bytes.size());
  struct stat stat {};
  ASSERT_EQ(::stat(target.path.c_str(), &stat), 0);
  EXPECT_EQ(stat.st_mode & 07777, 0640u);
  EXPECT_EQ(stat.st_mtim.tv_sec, 1234);
  EXPECT_EQ(stat.st_mtim.tv_nsec, 5678);
  EXPECT_EQ(Names(), 2u);
}

TEST_F(CopyTest, AFailureLeavesEverythingAsItWas) {
  Write(directory_ / "a", "new");
  Write(directory_ / "b", "old");
  CopyTarget target;
  target.path = directory_ / "b";
  EXPECT_EQ(CopyFile(directory_ / "a", target, {}).code(), Code::kExists);
  EXPECT_EQ(Read(directory_ / "b"), "old");
  EXPECT_EQ(CopyFile(directory_ / "missing", target, {}).code(), Code::kNotFound);
  EXPECT_EQ(Names(), 2u) << "a temporary file was left";
  target.replace = true;
  EXPECT_TRUE(CopyFile(directory_ / "a", target, {}).ok());
  EXPECT_EQ(Read(directory_ / "b"), "new");
  EXPECT_EQ(Names(), 2u);
}

TEST_F(CopyTest, NothingIsCopiedToo) {
  Write(directory_ / "a", "");
  CopyTarget target;
  target.path = directory_ / "b";
  EXPECT_TRUE(CopyFile(directory_ / "a", target, {}).ok());
  EXPECT_EQ(Read(target.path), "");
}

}  // namespace
}  // namespace varve
