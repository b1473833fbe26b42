// SIGKILL at any moment of a real catalog over LMDB: every acknowledged batch is
// there afterwards, none in part, and the next life goes on where this one ended.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "index/catalog.h"
#include "store/base/posix_disk.h"
#include "store/base/unique_fd.h"
#include "tests/support/random.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"

namespace varve {
namespace {

using testing::Random;
using testing::TempDir;
using testing::TestRounds;
using testing::TestSeed;

constexpr uint64_t kKeys = 50;

struct Opened {
  std::unique_ptr<Disk> disk;
  std::unique_ptr<KeyValueStore> store;
  std::unique_ptr<Catalog> catalog;
};

Result<Opened> Open(const std::string& path) {
  Opened opened;
  ASSIGN_OR_RETURN(opened.disk, PosixDisk::Open(path));
  ASSIGN_OR_RETURN(opened.store, OpenLmdb(path + "/index"));
  CatalogOptions options;
  options.log_bytes_max = 64 << 10;  // so that segments change all the time
  ASSIGN_OR_RETURN(opened.catalog, OpenCatalog(*opened.store, *opened.disk, "log", options));
  return opened;
}

std::string Padded(uint64_t number) {
  return std::to_string(number) + std::string(number * 37 % 300, '.');
}

// Applies batches and reports the number of each that was acknowledged, until it is killed.
[[noreturn]] void Live(const std::string& path, int report) {
  Result<Opened> opened = Open(path);
  if (!opened.ok()) ::_exit(1);
  Catalog& catalog = *opened->catalog;
  std::thread committer([&] {
    for (;;) {
      if (!catalog.Commit(nullptr).ok()) ::_exit(2);
    }
  });
  for (uint64_t number = catalog.Stats().applied_sequence + 1;; ++number) {
    Batch batch;
    batch.Put("key" + std::to_string(number % kKeys), Padded(number));
    batch.Put("last", std::to_string(number));
    batch.Delete("key" + std::to_string((number + 1) % kKeys));
    if (!catalog.Apply(batch).ok()) ::_exit(3);
    if (::write(report, &number, sizeof(number)) != sizeof(number)) ::_exit(4);
  }
}

// Kills a process that lives in `path`; returns the last number that it reported.
uint64_t KillOne(const std::string& path, unsigned delay_us) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) Live(path, ends[1]);
  ::close(ends[1]);
  const UniqueFd reports(ends[0]);
  std::thread killer([child, delay_us] {
    ::usleep(delay_us);
    ::kill(child, SIGKILL);
  });
  uint64_t number = 0;
  uint64_t last = 0;
  while (::read(reports.get(), &number, sizeof(number)) == sizeof(number)) last = number;
  killer.join();
  int outcome = 0;
  EXPECT_EQ(::waitpid(child, &outcome, 0), child);
  EXPECT_TRUE(WIFSIGNALED(outcome)) << "the process ended by itself: " << WEXITSTATUS(outcome);
  return last;
}

TEST(CatalogKillTest, NothingAcknowledgedIsLost) {
  Random random(TestSeed());
  const TempDir directory;
  uint64_t before = 0;
  for (uint64_t round = 0; round < TestRounds(12); ++round) {
    const uint64_t reported =
        KillOne(directory.path(), static_cast<unsigned>(random.Between(20000, 200000)));
    Result<Opened> opened = Open(directory.path());
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    const uint64_t count = opened->catalog->Stats().applied_sequence;
    ASSERT_GE(count, std::max(reported, before));
    ASSERT_LE(count, std::max(reported, before) + 1) << "one may have been under way";
    before = count;
    std::map<std::string, std::string> expected;
    if (count > 0) expected["last"] = std::to_string(count);
    const uint64_t first = count > kKeys ? count - kKeys + 1 : 1;
    for (uint64_t number = first; number <= count; ++number) {
      expected["key" + std::to_string(number % kKeys)] = Padded(number);
      expected.erase("key" + std::to_string((number + 1) % kKeys));
    }
    std::map<std::string, std::string> rows;
    ASSERT_TRUE(opened->catalog
                    ->Scan("", "",
                           [&](auto key, auto value) {
                             rows.emplace(key, value);
                             return true;
                           })
                    .ok());
    ASSERT_EQ(rows, expected);
  }
  EXPECT_GT(before, 100u);
}

}  // namespace
}  // namespace varve
