// How fast the catalog is: apply, flush, lookup, scan, commit, mount.
//
//   catalog_bench [DIRECTORY [KEYS]]
//
// DIRECTORY (default: a temporary one) decides which disk is measured; KEYS
// (default 200000) how large the index gets. Every figure comes with the one it is
// to be compared with, taken in the same run: a bare pwrite(2), a bare fdatasync(2).
// Processor time is given beside the clock's, because it stays the same on a busy
// machine.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "index/catalog.h"
#include "store/base/posix_disk.h"
#include "store/base/unique_fd.h"
#include "tests/support/random.h"
#include "tests/support/temp_dir.h"

namespace varve {
namespace {

using testing::Random;
using testing::TempDir;

struct Cost {
  double seconds = 0;
  double processor_seconds = 0;

  Cost& operator+=(const Cost& other) {
    seconds += other.seconds;
    processor_seconds += other.processor_seconds;
    return *this;
  }
};

double Now(clockid_t clock) {
  struct timespec now {};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

Cost Measure(const std::function<void()>& work) {
  const Cost begin{Now(CLOCK_MONOTONIC), Now(CLOCK_PROCESS_CPUTIME_ID)};
  work();
  return {Now(CLOCK_MONOTONIC) - begin.seconds,
          Now(CLOCK_PROCESS_CPUTIME_ID) - begin.processor_seconds};
}

void Must(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "catalog_bench: %s\n", status.ToString().c_str());
  std::exit(1);
}

void Report(const char* what, Cost cost, uint64_t count) {
  const auto each = static_cast<double>(count);
  std::printf("%-50s %10.2f us %9.2f us of processor %11.0f /s\n", what, cost.seconds * 1e6 / each,
              cost.processor_seconds * 1e6 / each, each / cost.seconds);
}

// RssAnon of this process, in MiB.
double AnonymousMib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("RssAnon:", 0) == 0) return std::strtod(line.c_str() + 8, nullptr) / 1024;
  }
  return 0;
}

std::string Key(uint64_t number) { return "I" + std::to_string(100000000 + number); }

// About 300 bytes in three rows, as the creation of a file makes them.
Batch FileBatch(uint64_t number, const std::string& noise) {
  Batch batch;
  batch.Put(Key(number), noise.substr(0, 120));
  batch.Put("D" + std::to_string(number * 2654435761 % 1000000007), noise.substr(0, 40));
  batch.Put("X" + std::to_string(100000000 + number), noise.substr(0, 60));
  return batch;
}

struct Bench {
  std::string path;
  uint64_t keys;
  std::unique_ptr<Disk> disk;
  std::unique_ptr<KeyValueStore> store;
  std::unique_ptr<Catalog> catalog;
  Random random{42};
  std::string noise = random.Bytes(1000);

  void Open() {
    Result<std::unique_ptr<PosixDisk>> posix = PosixDisk::Open(path);
    Must(posix.status());
    disk = std::move(posix).value();
    auto lmdb = OpenLmdb(path + "/index");
    Must(lmdb.status());
    store = std::move(lmdb).value();
    auto opened = OpenCatalog(*store, *disk, "log", {});
    Must(opened.status());
    catalog = std::move(opened).value();
  }
  void Close() {
    catalog.reset();
    store.reset();
    disk.reset();
  }
};

void MeasureBare(Bench& bench) {
  const std::string name = bench.path + "/bare";
  const UniqueFd file(::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const std::string zeros(8 << 20, '\0');
  if (::pwrite(file.get(), zeros.data(), zeros.size(), 0) < 0 || ::fdatasync(file.get()) != 0)
    std::exit(1);
  constexpr uint64_t kWrites = 20000;
  const auto write = [&](uint64_t i) {
    if (::pwrite(file.get(), bench.noise.data(), 332, static_cast<off_t>(i * 332)) < 0)
      std::exit(1);
  };
  Report("bare pwrite of 332 bytes", Measure([&] {
           for (uint64_t i = 0; i < kWrites; ++i) write(i);
         }),
         kWrites);
  constexpr uint64_t kSyncs = 200;
  Report("bare pwrite + fdatasync", Measure([&] {
           for (uint64_t i = 0; i < kSyncs; ++i) {
             write(i);
             if (::fdatasync(file.get()) != 0) std::exit(1);
           }
         }),
         kSyncs);
}

void MeasureSync(Bench& bench) {
  constexpr uint64_t kSyncs = 200;
  Report("Apply of 300 bytes + SyncLog", Measure([&] {
           for (uint64_t i = 0; i < kSyncs; ++i) {
             Must(bench.catalog->Apply(FileBatch(i, bench.noise)));
             Must(bench.catalog->SyncLog());
           }
         }),
         kSyncs);
  std::vector<std::thread> threads;
  Report("the same from 8 threads", Measure([&] {
           for (uint64_t thread = 0; thread < 8; ++thread) {
             threads.emplace_back([&, thread] {
               for (uint64_t i = 0; i < kSyncs; ++i) {
                 Must(bench.catalog->Apply(FileBatch(thread * kSyncs + i, bench.noise)));
                 Must(bench.catalog->SyncLog());
               }
             });
           }
           for (std::thread& thread : threads) thread.join();
         }),
         8 * kSyncs);
}

// Applies everything while a committer works, as a mount does it.
void MeasureApply(Bench& bench) {
  constexpr uint64_t kRound = 20000;
  Cost applying;
  Cost committing;
  std::vector<double> latencies;
  latencies.reserve(bench.keys);
  for (uint64_t begin = 0; begin < bench.keys; begin += kRound) {
    const uint64_t end = std::min(begin + kRound, bench.keys);
    std::vector<Batch> batches;
    for (uint64_t i = begin; i < end; ++i) batches.push_back(FileBatch(i, bench.noise));
    applying += Measure([&] {
      for (const Batch& batch : batches) {
        const double applied = Now(CLOCK_MONOTONIC);
        Must(bench.catalog->Apply(batch));
        latencies.push_back(Now(CLOCK_MONOTONIC) - applied);
      }
    });
    committing += Measure([&] { Must(bench.catalog->Commit(nullptr)); });
  }
  Report("Apply of 3 rows, 300 bytes", applying, bench.keys);
  std::sort(latencies.begin(), latencies.end());
  std::printf("%-50s %10.2f us, %.2f us, %.0f us\n", "  its median, 99 % and maximum",
              latencies[latencies.size() / 2] * 1e6, latencies[latencies.size() * 99 / 100] * 1e6,
              latencies.back() * 1e6);
  Report("Commit, per row (60,000 rows each)", committing, bench.keys * 3);
}

void MeasureReads(Bench& bench) {
  constexpr uint64_t kReads = 200000;
  const auto get_all = [&](uint64_t modulus) {
    for (uint64_t i = 0; i < kReads; ++i) {
      const auto got = bench.catalog->Get(Key(i * 7919 % modulus));
      Must(got.status());
    }
  };
  Report("Get from LMDB, empty delta", Measure([&] { get_all(bench.keys); }), kReads);
  for (uint64_t i = 0; i < 20000; ++i) Must(bench.catalog->Apply(FileBatch(i, bench.noise)));
  Report("Get from LMDB behind a delta of 60,000 rows", Measure([&] { get_all(bench.keys); }),
         kReads);
  Report("Get from the delta", Measure([&] { get_all(20000); }), kReads);
  uint64_t rows = 0;
  const Cost scanning = Measure([&] {
    Must(bench.catalog->Scan("I", "J", [&](auto, auto) {
      ++rows;
      return true;
    }));
  });
  Report("Scan, per row", scanning, rows);
  constexpr uint64_t kScans = 20000;
  Report("Scan of 10 rows", Measure([&] {
           for (uint64_t i = 0; i < kScans; ++i) {
             int left = 10;
             Must(bench.catalog->Scan(Key(i * 7919 % bench.keys), "J",
                                      [&](auto, auto) { return --left > 0; }));
           }
         }),
         kScans);
  std::atomic<bool> stop = false;
  std::thread committer([&] {
    while (!stop) {
      for (uint64_t i = 0; i < 2000; ++i) Must(bench.catalog->Apply(FileBatch(i, bench.noise)));
      Must(bench.catalog->Commit(nullptr));
    }
  });
  Report("Get while another thread applies and commits", Measure([&] { get_all(bench.keys); }),
         kReads);
  stop = true;
  committer.join();
}

void MeasureOpen(Bench& bench) {
  Must(bench.catalog->Commit(nullptr));
  bench.Close();
  Report("Open, everything committed", Measure([&] { bench.Open(); }), 1);
  for (uint64_t i = 0; i < 20000; ++i) Must(bench.catalog->Apply(FileBatch(i, bench.noise)));
  bench.Close();
  Report("Open, 20,000 batches to replay", Measure([&] { bench.Open(); }), 1);
}

int Main(int argc, char** argv) {
  const TempDir directory(argc > 1 ? argv[1] : "");
  Bench bench;
  bench.path = directory.path();
  bench.keys = argc > 2 ? std::strtoull(argv[2], nullptr, 0) : 200000;
  Report("Open of an empty store", Measure([&] { bench.Open(); }), 1);
  MeasureBare(bench);
  MeasureSync(bench);
  MeasureApply(bench);
  MeasureReads(bench);
  std::printf("%-50s %10.1f MiB\n", "anonymous memory", AnonymousMib());
  MeasureOpen(bench);
  const CatalogStats stats = bench.catalog->Stats();
  std::printf("%-50s %10.1f MiB\n", "index on disk",
              static_cast<double>(stats.index_bytes) / (1 << 20));
  return 0;
}

}  // namespace
}  // namespace varve

int main(int argc, char** argv) { return varve::Main(argc, argv); }
