// The FUSE adapter alone: a filesystem in memory, mounted, used through the kernel.
#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <fstream>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "store/base/unique_fd.h"
#include "tests/support/fake_mount.h"

namespace varve::testing {
namespace {

using ::testing::UnorderedElementsAre;

// Every test runs with passthrough, if that is possible, and without.
class AdapterTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (!FakeMount::Possible()) GTEST_SKIP() << "this machine does not let us mount";
    mount_.emplace([](SessionOptions* options) { options->passthrough = GetParam(); });
  }

  std::string Path(const std::string& name) const { return *mount_ / name; }
  UniqueFd OpenFile(const std::string& name, int flags, mode_t mode = 0644) const {
    return UniqueFd(open(Path(name).c_str(), flags | O_CLOEXEC, mode));
  }
  void WriteFile(const std::string& name, const std::string& text) const {
    std::ofstream(Path(name)) << text;
  }
  std::string ReadAll(const std::string& name) const {
    std::ifstream file(Path(name));
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::vector<std::string> List(const std::string& name) const {
    std::vector<std::string> names;
    DIR* const folder = opendir(Path(name).c_str());
    while (const dirent* const entry = readdir(folder)) names.emplace_back(entry->d_name);
    closedir(folder);
    return names;
  }

  std::optional<FakeMount> mount_;
};

INSTANTIATE_TEST_SUITE_P(Passthrough, AdapterTest, ::testing::Bool(),
                         [](const auto& suite) { return suite.param ? "On" : "Off"; });

TEST_P(AdapterTest, SaysWhichFastPathsAreOn) {
  const MountFacts facts = mount_->volume().facts();
  EXPECT_EQ(facts.passthrough, facts.passthrough_reason.empty());
  EXPECT_EQ(facts.io_uring, facts.io_uring_reason.empty());
  EXPECT_FALSE(facts.passthrough && !GetParam());
}

TEST_P(AdapterTest, FilesKeepTheirBytes) {
  std::string text;
  for (int i = 0; i < 400'000; ++i) text += std::to_string(i);
  WriteFile("file", text);
  EXPECT_EQ(ReadAll("file"), text);
  mount_->volume().ReplyFromMemory(true);
  EXPECT_EQ(truncate(Path("file").c_str(), 1'000'001), 0);
  EXPECT_EQ(ReadAll("file"), text.substr(0, 1'000'001));
  const UniqueFd file = OpenFile("file", O_WRONLY | O_APPEND);
  EXPECT_EQ(write(file.get(), "end", 3), 3);
  EXPECT_EQ(ReadAll("file").substr(999'999), text.substr(999'999, 2) + "end");
}

TEST_P(AdapterTest, MappingsAndDirectIo) {
  const UniqueFd file = OpenFile("file", O_RDWR | O_CREAT);
  ASSERT_EQ(ftruncate(file.get(), 8192), 0);
  char* const map =
      static_cast<char*>(mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0));
  ASSERT_NE(map, MAP_FAILED);
  std::string("mapped").copy(map + 4096, 6);
  ASSERT_EQ(msync(map, 8192, MS_SYNC), 0);
  std::array<char, 6> bytes{};
  EXPECT_EQ(pread(file.get(), bytes.data(), 6, 4096), 6);
  EXPECT_EQ(std::string(bytes.data(), 6), "mapped");
  EXPECT_EQ(munmap(map, 8192), 0);
  const UniqueFd direct = OpenFile("file", O_RDONLY | O_DIRECT);
  EXPECT_TRUE(direct.valid());
}

TEST_P(AdapterTest, NamesComeAndGo) {
  ASSERT_EQ(mkdir(Path("d").c_str(), 0755), 0);
  EXPECT_EQ(mkdir(Path("d").c_str(), 0755), -1);
  EXPECT_EQ(errno, EEXIST);
  WriteFile("d/a", "1");
  EXPECT_EQ(rename(Path("d/a").c_str(), Path("b").c_str()), 0);
  EXPECT_EQ(link(Path("b").c_str(), Path("d/c").c_str()), 0);
  EXPECT_EQ(symlink("over/there", Path("l").c_str()), 0);
  EXPECT_EQ(mknod(Path("fifo").c_str(), S_IFIFO | 0600, 0), 0);
  EXPECT_THAT(List(""), UnorderedElementsAre(".", "..", "d", "b", "l", "fifo"));
  std::array<char, 64> target{};
  EXPECT_EQ(readlink(Path("l").c_str(), target.data(), target.size()), 10);
  struct stat info {};
  ASSERT_EQ(lstat(Path("b").c_str(), &info), 0);
  EXPECT_EQ(info.st_nlink, 2u);
  EXPECT_EQ(rmdir(Path("d").c_str()), -1);
  EXPECT_EQ(errno, ENOTEMPTY);
  EXPECT_EQ(unlink(Path("d/c").c_str()), 0);
  EXPECT_EQ(rmdir(Path("d").c_str()), 0);
  EXPECT_EQ(lstat(Path("d").c_str(), &info), -1);
  EXPECT_EQ(errno, ENOENT);
}

TEST_P(AdapterTest, RenameFlagsArrive) {
  WriteFile("a", "1");
  WriteFile("b", "2");
  const auto rename2 = [this](unsigned flags) {
    return renameat2(AT_FDCWD, Path("a").c_str(), AT_FDCWD, Path("b").c_str(), flags);
  };
  EXPECT_EQ(rename2(RENAME_NOREPLACE), -1);
  EXPECT_EQ(errno, EEXIST);
  EXPECT_EQ(rename2(RENAME_EXCHANGE), 0);
  EXPECT_EQ(ReadAll("a"), "2");
  EXPECT_EQ(rename2(0), 0);
  EXPECT_EQ(ReadAll("b"), "2");
}

TEST_P(AdapterTest, LargeDirectoriesListEachNameOnce) {
  constexpr size_t kFiles = 3000;
  for (size_t i = 0; i < kFiles; ++i) {
    ASSERT_EQ(mknod(Path("a file with a rather long name " + std::to_string(i)).c_str(),
                    S_IFREG | 0600, 0),
              0);
  }
  const std::vector<std::string> names = List("");
  EXPECT_EQ(names.size(), kFiles + 2);
  EXPECT_EQ(std::set(names.begin(), names.end()).size(), kFiles + 2);
}

TEST_P(AdapterTest, ListingsSeek) {
  for (const char* const name : {"a", "b", "c", "d"}) WriteFile(name, "");
  DIR* const folder = opendir(mount_->path().c_str());
  std::vector<std::pair<std::string, long>> seen;
  while (const dirent* const entry = readdir(folder)) {
    seen.emplace_back(entry->d_name, telldir(folder));
  }
  for (size_t i = 0; i + 1 < seen.size(); ++i) {
    seekdir(folder, seen[i].second);
    const dirent* const entry = readdir(folder);
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ(entry->d_name, seen[i + 1].first);
  }
  closedir(folder);
}

TEST_P(AdapterTest, AttributesAreDecoded) {
  WriteFile("f", "");
  EXPECT_EQ(chmod(Path("f").c_str(), 0751), 0);
  const struct timespec times[2] = {{111, 222}, {333, 444}};
  EXPECT_EQ(utimensat(AT_FDCWD, Path("f").c_str(), times, 0), 0);
  struct stat info {};
  ASSERT_EQ(stat(Path("f").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777u, 0751u);
  EXPECT_EQ(info.st_atim.tv_nsec, 222);
  EXPECT_EQ(info.st_mtim.tv_sec, 333);
  const struct timespec keep[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
  EXPECT_EQ(utimensat(AT_FDCWD, Path("f").c_str(), keep, 0), 0);
  ASSERT_EQ(stat(Path("f").c_str(), &info), 0);
  EXPECT_GT(info.st_atim.tv_sec, 1000);
  EXPECT_EQ(info.st_mtim.tv_nsec, 444);
}

TEST_P(AdapterTest, ExtendedAttributes) {
  const std::string path = Path("f");
  WriteFile("f", "");
  EXPECT_EQ(setxattr(path.c_str(), "user.a", "value", 5, XATTR_CREATE), 0);
  EXPECT_EQ(setxattr(path.c_str(), "user.a", "value", 5, XATTR_CREATE), -1);
  EXPECT_EQ(errno, EEXIST);
  std::array<char, 64> bytes{};
  EXPECT_EQ(getxattr(path.c_str(), "user.a", nullptr, 0), 5);
  EXPECT_EQ(getxattr(path.c_str(), "user.a", bytes.data(), bytes.size()), 5);
  EXPECT_EQ(getxattr(path.c_str(), "user.a", bytes.data(), 4), -1);
  EXPECT_EQ(errno, ERANGE);
  EXPECT_EQ(listxattr(path.c_str(), bytes.data(), bytes.size()), 7);
  EXPECT_STREQ(bytes.data(), "user.a");
  const std::string large(64 << 10, 'x');
  EXPECT_EQ(setxattr(path.c_str(), "user.b", large.data(), large.size(), 0), 0);
  EXPECT_EQ(getxattr(path.c_str(), "user.b", nullptr, 0), 64 << 10);
  EXPECT_EQ(removexattr(path.c_str(), "user.a"), 0);
  EXPECT_EQ(getxattr(path.c_str(), "user.a", nullptr, 0), -1);
  EXPECT_EQ(errno, ENODATA);
}

TEST_P(AdapterTest, SparseFilesAndCopies) {
  const UniqueFd file = OpenFile("f", O_RDWR | O_CREAT);
  EXPECT_EQ(pwrite(file.get(), "data", 4, 1 << 20), 4);
  EXPECT_EQ(lseek(file.get(), 0, SEEK_DATA), 1 << 20);
  EXPECT_EQ(fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1 << 20, 4), 0);
  const UniqueFd copy = OpenFile("g", O_RDWR | O_CREAT);
  EXPECT_EQ(pwrite(file.get(), "data", 4, 0), 4);
  off_t from = 0;
  EXPECT_EQ(copy_file_range(file.get(), &from, copy.get(), nullptr, 4, 0), 4);
  EXPECT_EQ(ReadAll("g"), "data");
  EXPECT_EQ(fsync(file.get()), 0);
}

TEST_P(AdapterTest, UnnamedFilesGetNames) {
  const UniqueFd file(open(mount_->path().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  ASSERT_TRUE(file.valid()) << std::strerror(errno);
  EXPECT_EQ(write(file.get(), "text", 4), 4);
  const std::string link = "/proc/self/fd/" + std::to_string(file.get());
  EXPECT_EQ(linkat(AT_FDCWD, link.c_str(), AT_FDCWD, Path("f").c_str(), AT_SYMLINK_FOLLOW), 0);
  EXPECT_EQ(ReadAll("f"), "text");
}

TEST_P(AdapterTest, TheKernelServesLocks) {
  const UniqueFd one = OpenFile("f", O_RDWR | O_CREAT);
  const UniqueFd two = OpenFile("f", O_RDWR);
  EXPECT_EQ(flock(one.get(), LOCK_EX), 0);
  EXPECT_EQ(flock(two.get(), LOCK_EX | LOCK_NB), -1);
  struct flock range {};
  range.l_type = F_WRLCK;
  EXPECT_EQ(fcntl(one.get(), F_OFD_SETLK, &range), 0);
  EXPECT_EQ(fcntl(two.get(), F_OFD_SETLK, &range), -1);
}

TEST_P(AdapterTest, TheUmaskIsTakenOffOnce) {
  const mode_t before = umask(027);
  ASSERT_EQ(mkdir(Path("d").c_str(), 0777), 0);
  const UniqueFd file = OpenFile("f", O_RDWR | O_CREAT, 0666);
  umask(before);
  struct stat info {};
  ASSERT_EQ(stat(Path("d").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777u, 0750u);
  ASSERT_EQ(stat(Path("f").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777u, 0640u);
  const Caller caller = mount_->volume().last_caller();
  EXPECT_EQ(caller.umask, 0u);
  EXPECT_EQ(caller.uid, getuid());
}

TEST_P(AdapterTest, StatfsIsPassedOn) {
  struct statvfs space {};
  ASSERT_EQ(statvfs(mount_->path().c_str(), &space), 0);
  EXPECT_EQ(space.f_namemax, 255u);
  EXPECT_GT(space.f_blocks, 0u);
}

TEST_P(AdapterTest, HandlesAreReleased) {
  for (int i = 0; i < 50; ++i) WriteFile("f" + std::to_string(i), "x");
  List("");
  // The kernel sends RELEASE in its own time, and none once it is unmounted.
  for (int tries = 0; tries < 1000 && mount_->volume().open_handles() > 0; ++tries) usleep(10000);
  EXPECT_EQ(mount_->volume().open_handles(), 0u);
}

TEST_P(AdapterTest, StopEndsAMountThatIsInUse) {
  const UniqueFd file = OpenFile("f", O_RDWR | O_CREAT);
  mount_->Stop();
  EXPECT_EQ(ftruncate(file.get(), 1), -1);
  EXPECT_EQ(errno, ENOTCONN);
}

TEST_P(AdapterTest, MetricsCountOperations) {
  for (int i = 0; i < 10; ++i) mkdir(Path(std::to_string(i)).c_str(), 0700);
  mount_->Stop();  // an operation is counted after its reply
  const Metrics::Snapshot made = mount_->session().metrics().Read(Operation::kMakeDirectory);
  EXPECT_EQ(made.count, 10u);
  EXPECT_GT(made.total_ns, 0u);
  EXPECT_GE(made.p99_ns, made.median_ns);
}

// As nobody, in a child. Returns the child's exit code.
template <typename Body>
int AsNobody(const Body& body) {
  const pid_t child = fork();
  if (child == 0) {
    constexpr uid_t kNobody = 65534;
    if (setgid(kNobody) != 0 || setuid(kNobody) != 0) _exit(99);
    _exit(body());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}

TEST(AdapterPrivilegeTest, WritingTakesSetIdBits) {
  if (geteuid() != 0 || !FakeMount::Possible()) GTEST_SKIP() << "needs root";
  FakeMount mount([](SessionOptions* options) {
    options->allow_other = true;
    options->passthrough = false;
  });
  // The mount point is in a private directory: open it to all.
  const std::string path = mount / "f";
  ASSERT_EQ(chmod(mount.path().c_str(), 0777), 0);
  for (const int flags : {O_WRONLY, O_WRONLY | O_TRUNC}) {
    std::ofstream(path) << "text";
    ASSERT_EQ(chmod(path.c_str(), 06777), 0);
    EXPECT_EQ(AsNobody([&] {
                const UniqueFd file(open(path.c_str(), flags));
                if (!file.valid()) return 1;
                return (flags & O_TRUNC) != 0 || write(file.get(), "x", 1) == 1 ? 0 : 2;
              }),
              0);
    struct stat info {};
    ASSERT_EQ(stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & (S_ISUID | S_ISGID), 0u) << flags;
  }
}

TEST(AdapterTwoMountsTest, LiveInOneProcess) {
  if (!FakeMount::Possible()) GTEST_SKIP() << "this machine does not let us mount";
  FakeMount one;
  FakeMount two;
  std::ofstream(one / "f") << "1";
  struct stat info {};
  EXPECT_EQ(stat((one / "f").c_str(), &info), 0);
  EXPECT_EQ(stat((two / "f").c_str(), &info), -1);
  one.Stop();
  std::ofstream(two / "g") << "1";
  EXPECT_EQ(stat((two / "g").c_str(), &info), 0);
}

TEST(AdapterInvalidationTest, TheKernelForgetsWhatItIsTold) {
  if (!FakeMount::Possible()) GTEST_SKIP() << "this machine does not let us mount";
  FakeMount mount([](SessionOptions* options) { options->passthrough = false; });
  std::ofstream(mount / "f") << "old";
  struct stat info {};
  ASSERT_EQ(stat((mount / "f").c_str(), &info), 0);
  AttributeChange change;
  change.mode = 0600;
  // Behind the kernel's back.
  ASSERT_TRUE(mount.volume().SetAttributes({}, info.st_ino, change, std::nullopt).ok());
  ASSERT_EQ(stat((mount / "f").c_str(), &info), 0);
  EXPECT_NE(info.st_mode & 0777u, 0600u) << "attributes should be cached";
  mount.session().channel().InvalidateNode(info.st_ino);
  mount.session().channel().InvalidateName(kRootNode, "f");
  for (int i = 0; i < 500 && (info.st_mode & 0777u) != 0600u; ++i) {
    usleep(10'000);
    ASSERT_EQ(stat((mount / "f").c_str(), &info), 0);
  }
  EXPECT_EQ(info.st_mode & 0777u, 0600u);
}

}  // namespace
}  // namespace varve::testing
