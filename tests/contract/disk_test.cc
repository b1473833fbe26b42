// What every Disk does, the simulated one too.
#include "store/base/disk.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <set>
#include <thread>

#include "store/base/posix_disk.h"
#include "tests/support/seed.h"
#include "tests/support/sim_disk.h"
#include "tests/support/temp_dir.h"

namespace varve {
namespace {

using testing::Random;
using testing::SimDisk;
using testing::TempDir;
using testing::TestSeed;

constexpr uint64_t kPage = 4096;

class DiskTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string kind = GetParam();
    if (kind == "Sim") {
      disk_ = std::make_unique<SimDisk>();
      return;
    }
    const bool memory = kind == "PosixTmpfs";
    if (memory && ::access("/dev/shm", W_OK) != 0) GTEST_SKIP() << "no /dev/shm";
    directory_ = std::make_unique<TempDir>(memory ? "/dev/shm" : "");
    auto opened = PosixDisk::Open(directory_->path());
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    disk_ = std::move(opened).value();
  }

  std::unique_ptr<File> Open(const std::string& path, OpenMode mode = OpenMode::kCreate,
                             OpenOptions options = {}) {
    auto file = disk_->Open(path, mode, options);
    EXPECT_TRUE(file.ok()) << file.status().ToString();
    return file.ok() ? std::move(file).value() : nullptr;
  }
  static std::string Read(File& file, uint64_t offset, size_t size) {
    std::string bytes(size, '?');
    auto got = file.ReadAt(offset, {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
    EXPECT_TRUE(got.ok()) << got.status().ToString();
    bytes.resize(got.ok() ? *got : 0);
    return bytes;
  }
  static uint64_t SizeOf(File& file) {
    auto attributes = file.Stat();
    EXPECT_TRUE(attributes.ok());
    return attributes.ok() ? static_cast<uint64_t>(attributes->st_size) : 0;
  }
  static Status Write(File& file, uint64_t offset, std::string_view bytes) {
    return file.WriteAt(offset, AsBytes(bytes));
  }
  Disk& disk() { return *disk_; }

 private:
  std::unique_ptr<TempDir> directory_;
  std::unique_ptr<Disk> disk_;
};

#define ASSERT_OK(expression)                        \
  do {                                               \
    const Status status_ = (expression);             \
    ASSERT_TRUE(status_.ok()) << status_.ToString(); \
  } while (false)

TEST_P(DiskTest, OpenModes) {
  EXPECT_EQ(disk().Open("a", OpenMode::kRead).status().code(), Code::kNotFound);
  EXPECT_EQ(disk().Open("a", OpenMode::kReadWrite).status().code(), Code::kNotFound);
  EXPECT_TRUE(disk().Open("a", OpenMode::kCreateNew).ok());
  EXPECT_EQ(disk().Open("a", OpenMode::kCreateNew).status().code(), Code::kExists);
  EXPECT_TRUE(disk().Open("a", OpenMode::kCreate).ok());
  EXPECT_TRUE(disk().Open("a", OpenMode::kReadWrite).ok());
  EXPECT_EQ(disk().Open("missing/a", OpenMode::kCreate).status().code(), Code::kNotFound);
  EXPECT_EQ(disk().Open("a/b", OpenMode::kCreate).status().os_errno(), ENOTDIR);
  EXPECT_NE(disk().Open("a/b", OpenMode::kCreate).status().context().find("a/b"),
            std::string_view::npos);
  auto file = Open("a", OpenMode::kRead);
  EXPECT_FALSE(Write(*file, 0, "x").ok());
  EXPECT_FALSE(file->Truncate(0).ok());
}

TEST_P(DiskTest, ReadsWhatWasWritten) {
  auto file = Open("a");
  ASSERT_OK(Write(*file, 0, "hello"));
  ASSERT_OK(Write(*file, 10, "world"));
  EXPECT_EQ(Read(*file, 0, 100), std::string("hello\0\0\0\0\0world", 15));
  EXPECT_EQ(Read(*file, 13, 100), "ld");
  EXPECT_EQ(Read(*file, 15, 100), "");
  EXPECT_EQ(Read(*file, 1000, 100), "");
  ASSERT_OK(Write(*file, 100, ""));
  EXPECT_EQ(SizeOf(*file), 15U);
  ASSERT_OK(file->SyncData());
  auto other = Open("a", OpenMode::kRead);
  EXPECT_EQ(Read(*other, 10, 5), "world");
}

TEST_P(DiskTest, TruncateForgetsAndExtendsWithZeros) {
  auto file = Open("a");
  ASSERT_OK(Write(*file, 0, std::string(3 * kPage, 'x')));
  ASSERT_OK(file->Truncate(kPage + 5));
  ASSERT_OK(file->Truncate(3 * kPage));
  EXPECT_EQ(Read(*file, 0, 4 * kPage),
            std::string(kPage + 5, 'x') + std::string(2 * kPage - 5, '\0'));
}

TEST_P(DiskTest, SparseFilesTakeNoRoom) {
  auto file = Open("a");
  const uint64_t far = uint64_t{1} << 40;
  ASSERT_OK(file->Truncate(far));
  ASSERT_OK(Write(*file, far, "end"));
  EXPECT_EQ(SizeOf(*file), far + 3);
  EXPECT_LT(file->Stat()->st_blocks, 2048);
  EXPECT_EQ(Read(*file, far - 2, 10), std::string("\0\0end", 5));
  const auto data = file->Seek(0, SEEK_DATA);
  ASSERT_TRUE(data.ok());
  EXPECT_GT(*data, far - (1 << 20));
  EXPECT_LE(*data, far);
}

TEST_P(DiskTest, SeekFindsHolesAndTheEnd) {
  auto file = Open("a");
  ASSERT_OK(file->Truncate(64 * kPage));
  ASSERT_OK(Write(*file, 16 * kPage, std::string(16 * kPage, 'x')));
  EXPECT_EQ(*file->Seek(0, SEEK_HOLE), 0U);
  EXPECT_EQ(*file->Seek(0, SEEK_DATA), 16 * kPage);
  EXPECT_EQ(*file->Seek(20 * kPage, SEEK_DATA), 20 * kPage);
  EXPECT_EQ(*file->Seek(20 * kPage, SEEK_HOLE), 32 * kPage);
  EXPECT_EQ(file->Seek(32 * kPage, SEEK_DATA).status().os_errno(), ENXIO);
  EXPECT_EQ(file->Seek(64 * kPage, SEEK_HOLE).status().os_errno(), ENXIO);
  ASSERT_OK(Write(*file, 63 * kPage, std::string(kPage, 'x')));
  EXPECT_EQ(*file->Seek(63 * kPage, SEEK_HOLE), 64 * kPage);
}

TEST_P(DiskTest, AllocateModes) {
  auto file = Open("a");
  ASSERT_OK(file->Allocate(FALLOC_FL_KEEP_SIZE, 0, 8 * kPage));
  EXPECT_EQ(SizeOf(*file), 0U);
  EXPECT_GE(file->Stat()->st_blocks, 64);
  ASSERT_OK(file->Allocate(0, 0, 4 * kPage));
  EXPECT_EQ(SizeOf(*file), 4 * kPage);
  EXPECT_EQ(Read(*file, 0, 8 * kPage), std::string(4 * kPage, '\0'));
  ASSERT_OK(Write(*file, 0, std::string(4 * kPage, 'x')));
  ASSERT_OK(file->Allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 2 * kPage));
  EXPECT_EQ(Read(*file, 0, 4 * kPage), std::string(100, 'x') + std::string(2 * kPage, '\0') +
                                           std::string(2 * kPage - 100, 'x'));
  const Status zeroed = file->Allocate(FALLOC_FL_ZERO_RANGE, 3 * kPage, 2 * kPage);
  if (zeroed.code() == Code::kUnsupported) return;  // tmpfs
  ASSERT_OK(zeroed);
  EXPECT_EQ(SizeOf(*file), 5 * kPage);
  EXPECT_EQ(Read(*file, 3 * kPage, 4 * kPage), std::string(2 * kPage, '\0'));
  EXPECT_EQ(file->Allocate(0, 0, 0).code(), Code::kInvalid);
}

TEST_P(DiskTest, CopyKeepsHolesAndStopsAtTheEnd) {
  auto source = Open("source");
  ASSERT_OK(Write(*source, 0, "begin"));
  ASSERT_OK(Write(*source, 1 << 20, "middle"));
  ASSERT_OK(source->Truncate(1 << 30));
  auto target = Open("target");
  ASSERT_OK(Write(*target, 0, std::string(8 * kPage, 'o')));
  const auto copied = target->CopyFrom(*source, 0, 0, uint64_t{1} << 40);
  ASSERT_TRUE(copied.ok()) << copied.status().ToString();
  EXPECT_EQ(*copied, uint64_t{1} << 30);
  EXPECT_EQ(SizeOf(*target), uint64_t{1} << 30);
  EXPECT_EQ(Read(*target, 0, 6), std::string("begin\0", 6));
  EXPECT_EQ(Read(*target, kPage, 7 * kPage), std::string(7 * kPage, '\0'));
  EXPECT_EQ(Read(*target, 1 << 20, 7), std::string("middle\0", 7));
  EXPECT_LT(target->Stat()->st_blocks, 2048);
  EXPECT_EQ(*target->CopyFrom(*source, uint64_t{1} << 30, 0, 5), 0U);
  EXPECT_EQ(*target->CopyFrom(*source, (1 << 20) + 2, 3, 4), 4U);
  EXPECT_EQ(Read(*target, 0, 8), std::string("begddle\0", 8));
}

TEST_P(DiskTest, NamesAndDirectories) {
  ASSERT_OK(disk().MakeDirectory("d"));
  ASSERT_OK(disk().MakeDirectory("d"));
  Open("d/one");
  Open("d/two");
  auto names = disk().List("d");
  ASSERT_TRUE(names.ok());
  std::sort(names->begin(), names->end());
  EXPECT_EQ(*names, (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(*disk().List("."), (std::vector<std::string>{"d"}));
  EXPECT_EQ(disk().MakeDirectory("d/one").code(), Code::kExists);
  EXPECT_EQ(disk().MakeDirectory("x/y").code(), Code::kNotFound);
  EXPECT_EQ(disk().List("x").status().code(), Code::kNotFound);
  EXPECT_EQ(disk().List("d/one").status().os_errno(), ENOTDIR);
  EXPECT_TRUE(S_ISDIR(disk().Stat("d")->st_mode));
  EXPECT_TRUE(S_ISREG(disk().Stat("d/one")->st_mode));
  EXPECT_EQ(disk().Stat("d/three").status().code(), Code::kNotFound);
  ASSERT_OK(disk().SyncDirectory("d"));
  ASSERT_OK(disk().SyncDirectory("."));
  EXPECT_EQ(disk().Remove("d").os_errno(), ENOTEMPTY);
  ASSERT_OK(disk().Remove("d/one"));
  ASSERT_OK(disk().Remove("d/two"));
  EXPECT_EQ(disk().Remove("d/two").code(), Code::kNotFound);
  ASSERT_OK(disk().Remove("d"));
  EXPECT_EQ(disk().Stat("d").status().code(), Code::kNotFound);
}

TEST_P(DiskTest, RenameReplaces) {
  ASSERT_OK(disk().MakeDirectory("d"));
  ASSERT_OK(Write(*Open("a"), 0, "new"));
  auto old = Open("d/b");
  ASSERT_OK(Write(*old, 0, "old"));
  ASSERT_OK(disk().Rename("a", "d/b"));
  EXPECT_EQ(Read(*Open("d/b", OpenMode::kRead), 0, 10), "new");
  EXPECT_EQ(Read(*old, 0, 10), "old");
  EXPECT_EQ(disk().Stat("a").status().code(), Code::kNotFound);
  EXPECT_EQ(disk().Rename("a", "d/b").code(), Code::kNotFound);
  ASSERT_OK(disk().MakeDirectory("empty"));
  EXPECT_EQ(disk().Rename("d/b", "empty").os_errno(), EISDIR);
  EXPECT_EQ(disk().Rename("d", "d/c").code(), Code::kInvalid);
  ASSERT_OK(disk().Rename("d", "e"));
  EXPECT_TRUE(disk().Stat("e/b").ok());
}

TEST_P(DiskTest, RemovedFilesLiveWhileOpen) {
  auto file = Open("a");
  ASSERT_OK(Write(*file, 0, "still here"));
  ASSERT_OK(disk().Remove("a"));
  EXPECT_EQ(Read(*file, 0, 100), "still here");
  EXPECT_EQ(file->Stat()->st_nlink, 0U);
  Open("a", OpenMode::kCreateNew);
}

TEST_P(DiskTest, TimesAndStat) {
  auto file = Open("a");
  const struct timespec times[2] = {{1000, 5}, {2000, 7}};
  ASSERT_OK(file->SetTimes(times));
  EXPECT_EQ(file->Stat()->st_mtim.tv_sec, 2000);
  EXPECT_EQ(file->Stat()->st_mtim.tv_nsec, 7);
  const struct timespec now[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
  ASSERT_OK(file->SetTimes(now));
  EXPECT_GT(file->Stat()->st_mtim.tv_sec, 2000);
  EXPECT_EQ(file->Stat()->st_atim.tv_sec, 1000);
  EXPECT_EQ(file->Stat()->st_ino, disk().Stat("a")->st_ino);
  EXPECT_EQ(file->Stat()->st_mode & 0777U, 0600U);
}

TEST_P(DiskTest, LeaseKeepsWritersOut) {
  ASSERT_OK(Write(*Open("a"), 0, "x"));
  auto reader = Open("a", OpenMode::kRead);
  {
    auto writer = Open("a", OpenMode::kReadWrite);
    EXPECT_EQ(reader->AcquireLease().code(), Code::kBusy);
    EXPECT_FALSE(reader->LeaseHolds());
  }
  const Status acquired = reader->AcquireLease();
  if (acquired.code() == Code::kUnsupported) GTEST_SKIP() << "no leases here";
  ASSERT_OK(acquired);
  EXPECT_TRUE(reader->LeaseHolds());
  Open("a", OpenMode::kRead);
  EXPECT_TRUE(reader->LeaseHolds());
  // A real writer waits until the lease goes, and the lease is told.
  std::thread writer([this] { Open("a", OpenMode::kReadWrite); });
  while (reader->LeaseHolds()) std::this_thread::yield();
  reader->DropLease();
  writer.join();
  EXPECT_FALSE(reader->LeaseHolds());
  ASSERT_OK(reader->AcquireLease());
  reader->DropLease();
  ASSERT_OK(reader->AcquireLease());
  EXPECT_TRUE(reader->LeaseHolds());
}

TEST_P(DiskTest, KnowsWhoElseUsesAFile) {
  auto file = Open("a");
  // Where there are leases, this has to work: staging files are used again by it.
  if (Open("a", OpenMode::kRead)->AcquireLease().code() == Code::kUnsupported)
    GTEST_SKIP() << "no leases here";
  EXPECT_TRUE(file->IsUsedAlone());
  for (const OpenMode mode : {OpenMode::kRead, OpenMode::kReadWrite}) {
    auto other = Open("a", mode);
    EXPECT_FALSE(file->IsUsedAlone());
    other.reset();
    EXPECT_TRUE(file->IsUsedAlone());
  }
  if (file->descriptor() < 0) return;
  ASSERT_OK(file->WriteAt(0, AsBytes("x")));
  {
    // A mapping outlives the descriptor that it was made of.
    auto other = Open("a", OpenMode::kRead);
    void* mapping = mmap(nullptr, 1, PROT_READ, MAP_PRIVATE, other->descriptor(), 0);
    ASSERT_NE(mapping, MAP_FAILED);
    other.reset();
    EXPECT_FALSE(file->IsUsedAlone());
    munmap(mapping, 1);
  }
  EXPECT_TRUE(file->IsUsedAlone());
}

TEST_P(DiskTest, DirectFilesReadAndWrite) {
  auto file = Open("a", OpenMode::kCreate, {.direct = true});
  alignas(4096) static uint8_t buffer[4 * kPage];
  std::fill(std::begin(buffer), std::end(buffer), 'd');
  ASSERT_OK(file->WriteAt(0, {buffer, 2 * kPage}));
  ASSERT_OK(Open("a", OpenMode::kReadWrite)->Truncate(kPage + 100));
  std::fill(std::begin(buffer), std::end(buffer), 'e');
  const auto got = file->ReadAt(0, buffer);
  ASSERT_TRUE(got.ok()) << got.status().ToString();
  EXPECT_EQ(*got, kPage + 100);
  EXPECT_EQ(buffer[kPage + 99], 'd');
}

TEST_P(DiskTest, SpaceAndEpoch) {
  const auto space = disk().Space();
  ASSERT_TRUE(space.ok());
  EXPECT_GT(space->f_blocks, 0U);
  EXPECT_GE(space->f_blocks, space->f_bfree);
  EXPECT_FALSE(disk().PowerEpoch().empty());
  EXPECT_EQ(disk().PowerEpoch(), disk().PowerEpoch());
}

TEST_P(DiskTest, WholeFiles) {
  EXPECT_EQ(ReadFile(disk(), "a", 100).status().code(), Code::kNotFound);
  ASSERT_OK(ReplaceFile(disk(), "a", AsBytes("first and long")));
  ASSERT_OK(ReplaceFile(disk(), "a", AsBytes("second")));
  EXPECT_EQ(*ReadFile(disk(), "a", 6), "second");
  EXPECT_EQ(ReadFile(disk(), "a", 5).status().code(), Code::kInvalid);
  EXPECT_EQ(disk().List(".")->size(), 1U);
  ASSERT_OK(disk().MakeDirectory("d"));
  ASSERT_OK(ReplaceFile(disk(), "d/b", AsBytes("")));
  EXPECT_EQ(*ReadFile(disk(), "d/b", 0), "");
  EXPECT_EQ(ReplaceFile(disk(), "x/b", AsBytes("")).code(), Code::kNotFound);
}

TEST_P(DiskTest, ConcurrentWritersAtDisjointOffsets) {
  auto file = Open("a");
  constexpr int kThreads = 4;
  constexpr uint64_t kBlocks = 64;
  std::atomic<bool> failed = false;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t b = 0; b < kBlocks; ++b) {
        const uint64_t at = (b * kThreads + static_cast<uint64_t>(t)) * 1000;
        const std::string bytes(1000, static_cast<char>('a' + t));
        if (!Write(*file, at, bytes).ok()) failed = true;
        if (Read(*file, at, 1000) != bytes) failed = true;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(failed);
  const std::string whole = Read(*file, 0, kThreads * kBlocks * 1000);
  for (size_t i = 0; i < whole.size(); ++i) {
    ASSERT_EQ(whole[i], static_cast<char>('a' + i / 1000 % kThreads)) << i;
  }
}

// Random changes of one file equal the same changes of a string.
TEST_P(DiskTest, RandomChangesEqualAModel) {
  Random random(TestSeed());
  auto file = Open("a");
  auto other = Open("b");
  const std::string other_bytes = random.Bytes(20'000);
  ASSERT_OK(Write(*other, 0, other_bytes));
  std::string model;
  const auto cover = [&model](uint64_t end) {
    if (model.size() < end) model.resize(end);
  };
  for (uint64_t round = 0; round < testing::TestRounds(400); ++round) {
    const uint64_t offset = random.Below(60'000);
    const uint64_t size = random.Between(1, 20'000);
    switch (random.Below(6)) {
      case 0: {
        const std::string bytes = random.Bytes(size);
        ASSERT_OK(Write(*file, offset, bytes));
        cover(offset + size);
        model.replace(offset, size, bytes);
        break;
      }
      case 1:
        ASSERT_OK(file->Truncate(offset));
        model.resize(offset);
        break;
      case 2: {
        ASSERT_OK(file->Allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size));
        const uint64_t end = std::min<uint64_t>(offset + size, model.size());
        if (offset < end) std::fill_n(model.begin() + static_cast<long>(offset), end - offset, 0);
        break;
      }
      case 3:
        ASSERT_OK(file->Allocate(0, offset, size));
        cover(offset + size);
        break;
      case 4: {
        const uint64_t from = random.Below(other_bytes.size());
        const uint64_t count = std::min<uint64_t>(size, other_bytes.size() - from);
        const auto copied = file->CopyFrom(*other, from, offset, size);
        ASSERT_TRUE(copied.ok()) << copied.status().ToString();
        ASSERT_EQ(*copied, count);
        cover(offset + count);
        model.replace(offset, count, other_bytes, from, count);
        break;
      }
      default: {
        ASSERT_EQ(SizeOf(*file), model.size()) << "round " << round;
        ASSERT_EQ(Read(*file, offset, size),
                  offset < model.size() ? model.substr(offset, size) : "")
            << "round " << round;
      }
    }
  }
  ASSERT_EQ(Read(*file, 0, model.size() + 1), model);
}

INSTANTIATE_TEST_SUITE_P(Disks, DiskTest, ::testing::Values("Posix", "PosixTmpfs", "Sim"),
                         [](const auto& kind) { return std::string(kind.param); });

TEST(PosixDiskTest, OpensOnlyDirectories) {
  EXPECT_EQ(PosixDisk::Open("/nonexistent/varve").status().code(), Code::kNotFound);
  EXPECT_EQ(PosixDisk::Open("/etc/passwd").status().os_errno(), ENOTDIR);
}

TEST(PosixDiskTest, DoesNotFollowSymbolicLinks) {
  const TempDir directory;
  std::filesystem::create_symlink("/etc/passwd", directory / "link");
  auto disk = PosixDisk::Open(directory.path());
  ASSERT_TRUE(disk.ok());
  EXPECT_EQ((*disk)->Open("link", OpenMode::kRead).status().os_errno(), ELOOP);
  EXPECT_TRUE(S_ISLNK((*disk)->Stat("link")->st_mode));
}

TEST(PosixDiskTest, SurvivesARenameOfItsDirectory) {
  const TempDir directory;
  std::filesystem::create_directory(directory / "before");
  auto disk = PosixDisk::Open(directory / "before");
  ASSERT_TRUE(disk.ok());
  std::filesystem::rename(directory / "before", directory / "after");
  EXPECT_TRUE(ReplaceFile(**disk, "a", AsBytes("x")).ok());
  EXPECT_TRUE(std::filesystem::exists(directory / "after/a"));
}

}  // namespace
}  // namespace varve
