// How fast contents are digested and read back, on a real disk.
//
//   content_bench [FOLDER] [MIB]
//
// FOLDER is on the disk to be measured (default: the temporary directory), MIB the
// size of each content (default 1024). "cpu" is megabytes per second of processor
// time of this process, kernel work for it included; "wall" is per second of a
// clock. Cold figures need root, which may drop the kernel's caches.

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "fs/core/content_store.h"
#include "store/base/posix_disk.h"
#include "tests/support/random.h"
#include "tests/support/temp_dir.h"

namespace varve {
namespace {

constexpr uint64_t kMiB = 1u << 20;
constexpr uint64_t kSeed = 1;
constexpr int kStreams = 8;

template <typename T>
T OrDie(Result<T> result) {
  if (result.ok()) return std::move(result).value();
  std::fprintf(stderr, "content_bench: %s\n", result.status().ToString().c_str());
  std::exit(1);
}
void OrDie(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "content_bench: %s\n", status.ToString().c_str());
  std::exit(1);
}

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

// Megabytes of "RssAnon:" of this process now.
double AnonymousMegabytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    double kib = 0;
    if (word == "RssAnon:" && status >> kib) return kib * 1024 / 1e6;
  }
  return 0;
}

double Measure(const char* what, uint64_t bytes, const std::function<void()>& work) {
  const double wall = WallSeconds();
  const double cpu = CpuSeconds();
  work();
  const double megabytes = static_cast<double>(bytes) / 1e6;
  const double wall_rate = megabytes / (WallSeconds() - wall);
  std::printf("%-44s %7.0f MB/s wall %7.0f MB/s cpu %6.0f MB anon\n", what, wall_rate,
              megabytes / (CpuSeconds() - cpu), AnonymousMegabytes());
  std::fflush(stdout);
  return wall_rate;
}

void DropCaches() {
  ::sync();
  const int fd = ::open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  [[maybe_unused]] const ssize_t ignored = ::write(fd, "3", 1);
  ::close(fd);
}

class FileSource final : public ContentSource {
 public:
  FileSource(File& file, uint64_t size) : file_(file), size_(size) {}
  uint64_t size_bytes() const override { return size_; }
  Result<ByteRange> NextData(uint64_t offset) override {
    const Result<uint64_t> begin = file_.Seek(offset, SEEK_DATA);
    if (begin.status().os_errno() == ENXIO) return ByteRange{size_, size_};
    RETURN_IF_ERROR(begin.status());
    ASSIGN_OR_RETURN(const uint64_t end, file_.Seek(*begin, SEEK_HOLE));
    return ByteRange{*begin, end};
  }
  Result<size_t> ReadAt(uint64_t offset, MutableBytes out) override {
    return file_.ReadAt(offset, out);
  }
  bool Cancelled() override { return false; }

 private:
  File& file_;
  const uint64_t size_;
};

class ContentBench {
 public:
  ContentBench(const std::string& folder, uint64_t size)
      : directory_(folder), size_(size), disk_(OrDie(PosixDisk::Open(directory_.path()))) {
    OrDie(disk_->MakeDirectory("log"));
    index_ = OrDie(OpenLmdb(directory_ / "index"));
    catalog_ = OrDie(OpenCatalog(*index_, *disk_, "log", {}));
    packs_ = OrDie(OpenPackStore(*disk_, "packs", fingerprinter_, {}));
    NewStore();
  }

  void Run() {
    file_ = MakeFile("source", kSeed);
    Store("digest, incompressible", 1, std::nullopt);
    Store("digest, duplicate (stored copy not cached)", 2, std::nullopt);
    Store("digest, duplicate (stored copy cached)", 3, std::nullopt);
    ChangeOneByte();
    ReadCold();
    ReadStreams();
    std::printf("%s\n", packs_->uring_reason().empty() ? "packs through io_uring"
                                                       : packs_->uring_reason().c_str());
  }

 private:
  void NewStore() {
    store_.reset();
    store_ = MakeContentStore(*catalog_, *packs_, fingerprinter_, {});
  }

  std::unique_ptr<File> MakeFile(const std::string& name, uint64_t seed) {
    auto file = OrDie(disk_->Open(name, OpenMode::kCreate));
    testing::Random random(seed);
    const std::string block = random.Bytes(4 * kMiB);
    std::string bytes = block;
    for (uint64_t at = 0; at < size_; at += bytes.size()) {
      // Each piece differs from all others, and is cheap to make.
      for (size_t i = 0; i < bytes.size(); i += 4096) bytes[i] = static_cast<char>(random.Next());
      std::rotate(bytes.begin(), bytes.begin() + 512 * 1024 + 8, bytes.end());
      OrDie(file->WriteAt(at, AsBytes(bytes)));
    }
    return file;
  }

  void Commit(const Digested& digested) {
    OrDie(store_->Sync());
    OrDie(catalog_->Apply(digested.batch));
    store_->Forget(digested.new_chunks);
  }

  void Store(const char* what, ContentId content, const std::optional<DigestBase>& base) {
    FileSource source(*file_, size_);
    Digested digested;
    Measure(what, size_, [&] { digested = OrDie(store_->Digest(source, content, base)); });
    std::printf("    new %llu, shared %llu MB, %zu rows\n",
                static_cast<unsigned long long>(digested.new_bytes / 1'000'000),
                static_cast<unsigned long long>(digested.shared_bytes / 1'000'000),
                digested.batch.changes().size());
    const double begin = WallSeconds();
    Commit(digested);
    std::printf("    sync, apply: %.0f ms\n", (WallSeconds() - begin) * 1e3);
  }

  void ChangeOneByte() {
    OrDie(file_->WriteAt(size_ / 2 + 1, AsBytes("x")));
    FileSource source(*file_, size_);
    const DigestBase base{1, size_, {{size_ / 2 + 1, size_ / 2 + 2}}};
    const double begin = WallSeconds();
    const Digested digested = OrDie(store_->Digest(source, 4, base));
    const double seconds = WallSeconds() - begin;
    uint64_t batch_bytes = 0;
    for (const Batch::Change& change : digested.batch.changes())
      batch_bytes += change.key.size() + (change.value ? change.value->size() : 0);
    std::printf("digest, one byte changed: %.1f ms, %.0f KB in packs, %.0f KB in the index\n",
                seconds * 1e3, static_cast<double>(digested.stored_bytes) / 1e3,
                static_cast<double>(batch_bytes) / 1e3);
    Commit(digested);
  }

  // As the kernel reads ahead: requests of 128 KiB, four at a time, out of order.
  void ReadAll(ContentId content) {
    const auto reader = OrDie(store_->OpenReader(content, size_, "bench"));
    for (uint64_t at = 0; at < size_; at += 4 * 128 * 1024)
      for (const uint64_t part : {1u, 0u, 3u, 2u})
        OrDie(reader->Read(at + part * 128 * 1024, 128 * 1024).status());
  }

  void ReadCold() {
    DropCaches();
    const double native = Measure("native, cold", size_, [&] {
      std::vector<uint8_t> buffer(kMiB);
      for (uint64_t at = 0; at < size_; at += buffer.size())
        OrDie(file_->ReadAt(at, buffer).status());
    });
    DropCaches();
    NewStore();
    const double ours = Measure("read, cold", size_, [&] { ReadAll(1); });
    std::printf("    %.2f of native\n", ours / native);
    const ContentStore::Counters counters = store_->counters();
    std::printf("    cache hits %llu, misses %llu\n",
                static_cast<unsigned long long>(counters.cache_hits),
                static_cast<unsigned long long>(counters.cache_misses));
  }

  void ReadStreams() {
    std::vector<ContentId> contents = {1};
    for (int i = 1; i < kStreams; ++i) {
      file_ = MakeFile("source" + std::to_string(i), kSeed + static_cast<uint64_t>(i));
      FileSource source(*file_, size_);
      contents.push_back(static_cast<ContentId>(10 + i));
      Commit(OrDie(store_->Digest(source, contents.back(), std::nullopt)));
      OrDie(disk_->Remove("source" + std::to_string(i)));
    }
    NewStore();
    DropCaches();
    Measure("8 cold streams", kStreams * size_, [&] {
      std::vector<std::thread> threads;
      threads.reserve(contents.size());
      for (const ContentId content : contents)
        threads.emplace_back([this, content] { ReadAll(content); });
      for (std::thread& thread : threads) thread.join();
    });
  }

  const testing::TempDir directory_;
  const uint64_t size_;
  const Fingerprinter fingerprinter_{std::string(Fingerprinter::kSecretBytes, 's')};
  std::unique_ptr<PosixDisk> disk_;
  std::unique_ptr<KeyValueStore> index_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<PackStore> packs_;
  std::unique_ptr<ContentStore> store_;
  std::unique_ptr<File> file_;
};

}  // namespace
}  // namespace varve

int main(int argc, char** argv) {
  const uint64_t mib = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1024;
  if (mib < 4 || mib % 4 != 0) {
    std::fprintf(stderr, "usage: content_bench [FOLDER] [MIB, a multiple of 4]\n");
    return 2;
  }
  varve::ContentBench(argc > 1 ? argv[1] : "", mib * varve::kMiB).Run();
  return 0;
}
