// How fast the store's pieces are, each alone and on one core.
//
//   store_bench [FOLDER] [MIB]
//
// FOLDER is on the disk to be measured (default: the temporary directory), MIB the
// amount of data (default 512). "cpu" is megabytes per second of processor time of
// this process, kernel work for it included; "wall" is per second of a clock.

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "store/base/posix_disk.h"
#include "store/chunk/cutter.h"
#include "store/chunk/fingerprint.h"
#include "store/codec/codec.h"
#include "store/pack/aligned_buffer.h"
#include "store/pack/pack_store.h"

namespace varve {
namespace {

constexpr size_t kMiB = 1 << 20;
constexpr uint32_t kPieceBytes = 512 << 10;
constexpr uint64_t kSeed = 1;

double WallSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double CpuSeconds() {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const struct timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void Measure(const char* what, size_t bytes, const std::function<void()>& work) {
  const double wall = WallSeconds();
  const double cpu = CpuSeconds();
  work();
  const double megabytes = static_cast<double>(bytes) / 1e6;
  std::printf("%-34s %8.0f MB/s wall %8.0f MB/s cpu\n", what, megabytes / (WallSeconds() - wall),
              megabytes / (CpuSeconds() - cpu));
  std::fflush(stdout);
}

std::vector<uint8_t> Incompressible(size_t size) {
  std::mt19937_64 random(kSeed);
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i + 8 <= size; i += 8) {
    const uint64_t word = random();
    std::memcpy(bytes.data() + i, &word, 8);
  }
  return bytes;
}

// Source code: what the files below /usr/include hold, repeated if that is too little.
std::vector<uint8_t> Text(size_t size) {
  std::vector<uint8_t> bytes;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::recursive_directory_iterator("/usr/include", ignored)) {
    if (!entry.is_regular_file() || bytes.size() >= size) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    bytes.insert(bytes.end(), std::istreambuf_iterator<char>(file), {});
  }
  if (bytes.empty()) bytes.push_back('x');
  for (size_t i = 0; bytes.size() < size; ++i) bytes.push_back(bytes[i]);
  bytes.resize(size);
  return bytes;
}

// Weights of a layer: normally distributed, 32 bits each.
std::vector<uint8_t> Weights(size_t size) {
  std::mt19937_64 random(kSeed);
  std::normal_distribution<float> distribution(0.0f, 0.02f);
  std::vector<float> weights(size / sizeof(float));
  for (float& weight : weights) weight = distribution(random);
  std::vector<uint8_t> bytes(weights.size() * sizeof(float));
  std::memcpy(bytes.data(), weights.data(), bytes.size());
  return bytes;
}

template <typename Visit>
void ForEachChunk(Cutter& cutter, ByteView bytes, Visit visit) {
  for (size_t offset = 0; offset < bytes.size();) {
    const size_t window = std::min<size_t>(kChunkBytesMax, bytes.size() - offset);
    const uint32_t size = cutter.Next(offset, bytes.subspan(offset, window));
    visit(bytes.subspan(offset, size));
    offset += size;
  }
}

template <typename T>
T OrDie(Result<T> result) {
  if (result.ok()) return std::move(result).value();
  std::fprintf(stderr, "store_bench: %s\n", result.status().ToString().c_str());
  std::exit(1);
}

void OrDie(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "store_bench: %s\n", status.ToString().c_str());
  std::exit(1);
}

struct Data {
  const char* name;
  std::vector<uint8_t> bytes;
};

void BenchCpu(const Data& data, const Fingerprinter& fingerprinter) {
  const size_t size = data.bytes.size();
  const std::string name = data.name;
  uint64_t sum = 0;
  Measure((name + ": fingerprint").c_str(), size, [&] {
    ForEachChunk(*MakeFixedCutter(kPieceBytes), data.bytes,
                 [&](ByteView chunk) { sum += fingerprinter.Name(chunk).bytes[0]; });
  });
  Measure((name + ": content-defined cut").c_str(), size, [&] {
    ForEachChunk(*MakeContentCutter(), data.bytes, [&](ByteView chunk) { sum += chunk.size(); });
  });
  Encoder encoder;
  uint64_t stored = 0;
  Measure((name + ": encode").c_str(), size, [&] {
    ForEachChunk(*MakeFixedCutter(kPieceBytes), data.bytes,
                 [&](ByteView chunk) { stored += encoder.Encode(chunk).payload.size(); });
  });
  std::printf("%-34s %8.3f\n", (name + ": stored / raw").c_str(),
              static_cast<double>(stored) / static_cast<double>(size));
  if (sum == 1) std::printf("\n");  // so that nothing above is optimised away
}

struct Stored {
  ChunkId id;
  ChunkLocation location;
};

void DropCaches() {
  ::sync();
  const int fd = ::open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  [[maybe_unused]] const ssize_t ignored = ::write(fd, "3", 1);
  ::close(fd);
}

void BenchRead(const char* what, PackStore& store, const std::vector<Stored>& stored,
               size_t batch_bytes, ReadFrom from, size_t size) {
  const size_t batch = batch_bytes / kPieceBytes;
  const AlignedBuffer out(batch_bytes);
  Measure(what, size, [&] {
    for (size_t first = 0; first < stored.size(); first += batch) {
      std::vector<ChunkRead> reads;
      for (size_t i = first; i < std::min(first + batch, stored.size()); ++i) {
        reads.push_back(
            {stored[i].id,
             stored[i].location,
             out.bytes().subspan((i - first) * kPieceBytes, stored[i].location.raw_bytes),
             {}});
      }
      OrDie(store.Read(reads, from));
    }
  });
}

// What the digester does with content that is stored already: name, read, compare.
void BenchDuplicate(const char* what, PackStore& store, const std::vector<Stored>& stored,
                    ByteView bytes, const Fingerprinter& fingerprinter) {
  std::vector<uint8_t> out(kPieceBytes);
  size_t next = 0;
  size_t equal = 0;
  Measure(what, bytes.size(), [&] {
    ForEachChunk(*MakeFixedCutter(kPieceBytes), bytes, [&](ByteView chunk) {
      const MutableBytes copy = MutableBytes(out).first(chunk.size());
      ChunkRead read = {fingerprinter.Name(chunk), stored[next++].location, copy, {}};
      OrDie(store.Read({&read, 1}, ReadFrom::kPageCache));
      equal += std::memcmp(chunk.data(), copy.data(), chunk.size()) == 0 ? 1 : 0;
    });
  });
  if (equal != stored.size()) std::printf("not all pieces are equal\n");
}

void BenchPacks(const Data& data, Disk& disk, const Fingerprinter& fingerprinter, bool io_uring) {
  const size_t size = data.bytes.size();
  const std::string name = std::string(data.name) + (io_uring ? "" : ", no io_uring");
  const std::string path = std::string("packs-") + data.name + (io_uring ? "-uring" : "");
  std::vector<Stored> stored;
  {
    auto store = OrDie(OpenPackStore(disk, path, fingerprinter, {.io_uring = io_uring}));
    Encoder encoder;
    Measure((name + ": digest pieces + sync").c_str(), size, [&] {
      ForEachChunk(*MakeFixedCutter(kPieceBytes), data.bytes, [&](ByteView chunk) {
        const ChunkId id = fingerprinter.Name(chunk);
        stored.push_back({id, OrDie(store->Append(id, encoder.Encode(chunk), RoomFor::kContent))});
      });
      OrDie(store->Sync());
    });
  }
  auto store = OrDie(OpenPackStore(disk, path, fingerprinter, {.io_uring = io_uring}));
  DropCaches();
  BenchRead((name + ": cold read, 4 MiB batches").c_str(), *store, stored, 4 * kMiB,
            ReadFrom::kDisk, size);
  DropCaches();
  BenchRead((name + ": cold read, 16 MiB batches").c_str(), *store, stored, 16 * kMiB,
            ReadFrom::kDisk, size);
  DropCaches();
  BenchRead((name + ": page cache, cold").c_str(), *store, stored, 4 * kMiB, ReadFrom::kPageCache,
            size);
  BenchRead((name + ": page cache, warm").c_str(), *store, stored, 4 * kMiB, ReadFrom::kPageCache,
            size);
  BenchDuplicate((name + ": duplicate, compared").c_str(), *store, stored, data.bytes,
                 fingerprinter);
}

// The disk itself, for comparison.
void BenchNative(Disk& disk, const Data& data) {
  const size_t size = data.bytes.size();
  auto file = OrDie(disk.Open("native", OpenMode::kCreate, {.direct = true}));
  AlignedBuffer buffer(4 * kMiB);
  std::copy_n(data.bytes.begin(), buffer.size(), buffer.data());
  Measure("native O_DIRECT write + sync", size, [&] {
    for (size_t at = 0; at < size; at += buffer.size()) OrDie(file->WriteAt(at, buffer.bytes()));
    OrDie(file->SyncData());
  });
  Measure("native O_DIRECT read", size, [&] {
    for (size_t at = 0; at < size; at += buffer.size()) OrDie(file->ReadAt(at, buffer.bytes()));
  });
  DropCaches();
  auto buffered = OrDie(disk.Open("native", OpenMode::kRead));
  Measure("native buffered cold read", size, [&] {
    for (size_t at = 0; at < size; at += kMiB) {
      OrDie(buffered->ReadAt(at, buffer.bytes().first(kMiB)));
    }
  });
}

void Run(const std::string& folder, size_t size) {
  const auto disk = OrDie(PosixDisk::Open(folder));
  const Fingerprinter fingerprinter(Fingerprinter::MakeSecret());
  const std::vector<Data> all = {{"incompressible", Incompressible(size)},
                                 {"text", Text(size / 4)},
                                 {"weights", Weights(size / 4)}};
  for (const Data& data : all) BenchCpu(data, fingerprinter);
  BenchNative(*disk, all[0]);
  for (const bool io_uring : {true, false}) {
    for (const Data& data : all) BenchPacks(data, *disk, fingerprinter, io_uring);
  }
}

}  // namespace
}  // namespace varve

int main(int argc, char** argv) {
  const std::string parent = argc > 1 ? argv[1] : std::filesystem::temp_directory_path().string();
  const size_t mebibytes = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 512;
  std::string folder = parent + "/store_bench-XXXXXX";
  if (mebibytes < 32 || mkdtemp(folder.data()) == nullptr) {
    std::fprintf(stderr, "usage: store_bench [FOLDER] [MIB, 32 or more]\n");
    return 2;
  }
  varve::Run(folder, mebibytes << 20);
  std::filesystem::remove_all(folder);
  return 0;
}
