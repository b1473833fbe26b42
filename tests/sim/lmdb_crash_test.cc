// LMDB does its own I/O, so this program stands between it and the kernel: its
// pwrite, writev, fdatasync and fsync are the functions below. They record what
// happens to one watched file, and can fail the n-th call.
//
// From the record every power cut is drawn: what was written since the last flush
// is kept or lost per sector of 512 bytes; a write through a descriptor that has
// O_DSYNC is durable when it returns. The state must be that of the last Write()
// that returned, or of the one that was under way.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "index/catalog.h"
#include "tests/support/random.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"

namespace varve {
namespace {

struct Call {
  bool flush = false;
  bool durable = false;  // a write through O_DSYNC
  uint64_t offset = 0;
  std::string bytes;
};

struct Recorder {
  ino_t watched = 0;
  std::vector<Call> calls;
  size_t fail_at = SIZE_MAX;
  int fail_errno = 0;

  bool Watches(int descriptor) const {
    struct stat attributes {};
    return ::fstat(descriptor, &attributes) == 0 && attributes.st_ino == watched;
  }
  // False if this call is to fail.
  bool Admit(Call call) {
    calls.push_back(std::move(call));
    if (calls.size() - 1 != fail_at) return true;
    errno = fail_errno;
    return false;
  }
};

// The functions below have no other way to reach it. One test at a time sets it.
Recorder* recorder = nullptr;

bool AdmitWrite(int descriptor, uint64_t offset, const struct iovec* parts, int count) {
  if (recorder == nullptr || !recorder->Watches(descriptor)) return true;
  Call call;
  call.offset = offset;
  call.durable = (::fcntl(descriptor, F_GETFL) & O_DSYNC) != 0;
  for (int i = 0; i < count; ++i)
    call.bytes.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
  return recorder->Admit(std::move(call));
}

bool AdmitFlush(int descriptor) {
  if (recorder == nullptr || !recorder->Watches(descriptor)) return true;
  Call call;
  call.flush = true;
  return recorder->Admit(std::move(call));
}

}  // namespace
}  // namespace varve

extern "C" {

// Under its plain name: LMDB calls that, and with 64-bit offsets our header would
// make this one pwrite64.
ssize_t PlainPwrite(int descriptor, const void* data, size_t size, off_t offset) __asm__("pwrite");
ssize_t PlainPwrite(int descriptor, const void* data, size_t size, off_t offset) {
  const struct iovec part { const_cast<void*>(data), size };
  if (!varve::AdmitWrite(descriptor, static_cast<uint64_t>(offset), &part, 1)) return -1;
  return ::syscall(SYS_pwrite64, descriptor, data, size, offset);
}

ssize_t writev(int descriptor, const struct iovec* parts, int count) {
  const auto offset = ::syscall(SYS_lseek, descriptor, 0, SEEK_CUR);
  if (!varve::AdmitWrite(descriptor, static_cast<uint64_t>(offset), parts, count)) return -1;
  return ::syscall(SYS_writev, descriptor, parts, count);
}

int fdatasync(int descriptor) {
  if (!varve::AdmitFlush(descriptor)) return -1;
  return static_cast<int>(::syscall(SYS_fdatasync, descriptor));
}

int fsync(int descriptor) {
  if (!varve::AdmitFlush(descriptor)) return -1;
  return static_cast<int>(::syscall(SYS_fsync, descriptor));
}

}  // extern "C"

namespace varve {
namespace {

using testing::Random;
using testing::TempDir;
using testing::TestRounds;
using testing::TestSeed;

using Map = std::map<std::string, std::string>;

std::string ReadWhole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// In memory if there is such a place: the disk is not what is tested.
std::string FastDirectory() { return std::filesystem::exists("/dev/shm") ? "/dev/shm" : ""; }

class LmdbCrashTest : public ::testing::Test {
 public:
  ~LmdbCrashTest() override { recorder = nullptr; }

 protected:
  LmdbCrashTest() : directory_(FastDirectory()) { Open(); }

  void Open() {
    store_.reset();
    Result<std::unique_ptr<KeyValueStore>> opened = OpenLmdb(directory_ / "index");
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    store_ = std::move(opened).value();
  }
  void Watch() {
    struct stat attributes {};
    ASSERT_EQ(::stat((directory_ / "index/data.mdb").c_str(), &attributes), 0);
    recorder_.watched = attributes.st_ino;
    recorder = &recorder_;
  }
  static Map Rows(KeyValueStore& store) {
    Map rows;
    const Status scanned = store.Scan("", "", [&](auto key, auto value) {
      rows.emplace(key, value);
      return true;
    });
    EXPECT_TRUE(scanned.ok()) << scanned.ToString();
    return rows;
  }
  // Some changes, and the rows that follow from them.
  static std::vector<Batch::Change> RandomChanges(Random& random, Map* rows) {
    std::map<std::string, std::optional<std::string>> changes;
    for (uint64_t i = random.Between(1, 40); i > 0; --i) {
      std::optional<std::string>& value = changes["k" + std::to_string(random.Below(200))];
      value.reset();
      if (random.Chance(2, 3))
        value = random.Bytes(random.Below(random.Chance(1, 30) ? 9000 : 200));
    }
    std::vector<Batch::Change> ordered;
    for (const auto& [key, value] : changes) {
      ordered.push_back({key, value});
      if (value) {
        (*rows)[key] = *value;
      } else {
        rows->erase(key);
      }
    }
    return ordered;
  }

  TempDir directory_;
  std::unique_ptr<KeyValueStore> store_;
  Recorder recorder_;
};

void Overwrite(std::string* image, uint64_t offset, std::string_view bytes) {
  if (image->size() < offset + bytes.size()) image->resize(offset + bytes.size());
  std::copy(bytes.begin(), bytes.end(), image->begin() + static_cast<ptrdiff_t>(offset));
}

// What the disk holds if the power goes while call `cut` is under way.
std::string ImageAfterCut(const std::string& base, const std::vector<Call>& calls, size_t cut,
                          Random& random) {
  constexpr size_t kSectorBytes = 512;
  std::string image = base;
  std::vector<const Call*> pending;
  for (size_t i = 0; i < cut; ++i) {
    if (calls[i].flush) {
      for (const Call* call : pending) Overwrite(&image, call->offset, call->bytes);
      pending.clear();
    } else if (calls[i].durable) {
      Overwrite(&image, calls[i].offset, calls[i].bytes);
    } else {
      pending.push_back(&calls[i]);
    }
  }
  if (cut < calls.size() && !calls[cut].flush) pending.push_back(&calls[cut]);
  for (const Call* call : pending) {
    // Sectors of the disk, not of the call.
    for (size_t at = 0; at < call->bytes.size();) {
      const size_t part =
          std::min(call->bytes.size() - at, kSectorBytes - (call->offset + at) % kSectorBytes);
      if (random.Chance(1, 2))
        Overwrite(&image, call->offset + at, std::string_view(call->bytes).substr(at, part));
      at += part;
    }
  }
  return image;
}

TEST_F(LmdbCrashTest, APowerCutLeavesTheLastWriteOrTheOneUnderWay) {
  Random random(TestSeed());
  std::vector<Map> states(1);
  std::vector<size_t> returned_at(1, 0);  // how many calls each Write() needed
  const std::string base = ReadWhole(directory_ / "index/data.mdb");
  Watch();
  for (int i = 0; i < 25; ++i) {
    states.push_back(states.back());
    ASSERT_TRUE(store_->Write(RandomChanges(random, &states.back())).ok());
    returned_at.push_back(recorder_.calls.size());
  }
  recorder = nullptr;
  ASSERT_GT(recorder_.calls.size(), 60u);

  uint64_t forward = 0;
  for (size_t cut = 0; cut <= recorder_.calls.size(); ++cut) {
    const auto next = std::upper_bound(returned_at.begin(), returned_at.end(), cut);
    const auto last = static_cast<size_t>(next - returned_at.begin()) - 1;
    for (uint64_t draw = 0; draw < TestRounds(3); ++draw) {
      const TempDir found(FastDirectory());
      ASSERT_TRUE(std::filesystem::create_directory(found / "index"));
      std::ofstream(found / "index/data.mdb", std::ios::binary)
          << ImageAfterCut(base, recorder_.calls, cut, random);
      const auto store = OpenLmdb(found / "index");
      ASSERT_TRUE(store.ok()) << store.status().ToString() << ", call " << cut;
      const Map rows = Rows(**store);
      const bool is_next = last + 1 < states.size() && rows == states[last + 1];
      ASSERT_TRUE(is_next || rows == states[last]) << "call " << cut;
      forward += is_next ? 1 : 0;
    }
  }
  EXPECT_GT(forward, 0u) << "no cut was late enough to matter";
}

TEST_F(LmdbCrashTest, EveryCallFailsOnce) {
  const uint64_t seed = TestSeed();
  for (const int error : {EIO, ENOSPC}) {
    size_t calls = 1;
    for (size_t n = 0; n < calls; ++n) {
      SCOPED_TRACE("call " + std::to_string(n) + ", errno " + std::to_string(error));
      store_.reset();
      std::filesystem::remove_all(directory_ / "index");
      Open();
      Random random(seed);
      Watch();
      recorder_.calls.clear();
      recorder_.fail_at = n;
      recorder_.fail_errno = error;
      Map before;
      int failures = 0;
      for (int i = 0; i < 8; ++i) {
        Map after = before;
        const std::vector<Batch::Change> changes = RandomChanges(random, &after);
        Status written = store_->Write(changes);
        if (!written.ok()) {
          ++failures;
          // If even its metadata could not be written, LMDB refuses reads too until it is reopened.
          if (store_->Get("k").ok()) {
            ASSERT_EQ(Rows(*store_), before) << "a failed write is not seen";
          } else {
            ASSERT_EQ(store_->Get("k").status().code(), Code::kIo);
          }
          if (written.code() == Code::kNoSpace) written = store_->Write(changes);
        }
        if (!written.ok()) {
          Open();
          const Map rows = Rows(*store_);
          ASSERT_TRUE(rows == before || rows == after);
          if (rows == before) {
            ASSERT_TRUE(store_->Write(changes).ok());
          }
        }
        before = after;
        ASSERT_EQ(Rows(*store_), before);
      }
      ASSERT_EQ(failures, n < recorder_.calls.size() ? 1 : 0);
      calls = recorder_.calls.size();
      recorder = nullptr;
      Open();
      ASSERT_EQ(Rows(*store_), before);
    }
    EXPECT_GT(calls, 20u);
  }
}

}  // namespace
}  // namespace varve
