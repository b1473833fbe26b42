#include "store/pack/pack_store.h"

#include <algorithm>
#include <map>
#include <utility>

#include "store/base/mutex.h"
#include "store/pack/pack_files.h"
#include "store/pack/pack_format.h"
#include "store/pack/pack_limits.h"
#include "store/pack/pack_mover.h"
#include "store/pack/pack_reader.h"
#include "store/pack/pack_scanner.h"
#include "store/pack/pack_writer.h"

namespace varve {
namespace {

// What earlier sessions left: packs and their bytes.
using EarlierPacks = std::map<uint32_t, uint64_t>;

std::string ParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

// A session that was killed left its last packs longer on disk than their content.
void TrimAllocation(Disk& disk, const std::string& name, const struct stat& attributes) {
  constexpr int64_t kSectorBytes = 512;
  if (attributes.st_blocks * kSectorBytes <= attributes.st_size + kBlockBytes) return;
  const Result<std::unique_ptr<File>> file = disk.Open(name, OpenMode::kReadWrite);
  if (!file.ok()) return;
  // Costs space, not data, when it fails.
  [[maybe_unused]] const Status status =
      file.value()->Truncate(static_cast<uint64_t>(attributes.st_size));
}

Result<EarlierPacks> FindPacks(Disk& disk, const std::string& path) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, disk.List(path));
  EarlierPacks packs;
  for (const std::string& name : names) {
    const uint32_t pack = PackOfFileName(name);
    if (pack == 0) continue;
    ASSIGN_OR_RETURN(const struct stat attributes, disk.Stat(path + "/" + name));
    packs[pack] = static_cast<uint64_t>(attributes.st_size);
    TrimAllocation(disk, path + "/" + name, attributes);
  }
  return packs;
}

// A session that was killed may have left records that can be read, but that no flush has
// covered. Whoever finds them relies on them, and a power cut must not take them back. They
// are in the last packs: a session writes to few at a time.
Status FlushLast(Disk& disk, const std::string& path, const EarlierPacks& packs) {
  constexpr size_t kLast = 16;
  size_t flushed = 0;
  for (auto pack = packs.rbegin(); pack != packs.rend() && flushed < kLast; ++pack, ++flushed) {
    const std::string name = path + "/" + PackFileName(pack->first);
    ASSIGN_OR_RETURN(const std::unique_ptr<File> file, disk.Open(name, OpenMode::kRead));
    RETURN_IF_ERROR(file->SyncData());
  }
  return packs.empty() ? Status() : disk.SyncDirectory(path);
}

class DiskPackStore final : public PackStore {
 public:
  DiskPackStore(Disk& disk, const std::string& path, const Fingerprinter& fingerprinter,
                const PackStoreOptions& options, EarlierPacks earlier, std::unique_ptr<Ring> ring,
                std::string uring_reason)
      : fingerprinter_(fingerprinter),
        uring_reason_(std::move(uring_reason)),
        files_(disk, path),
        writer_(disk, path, fingerprinter,
                {.first_pack = earlier.empty() ? 1 : earlier.rbegin()->first + 1,
                 .pack_bytes_target = options.pack_bytes_target},
                std::move(ring)),
        reader_(files_, writer_, fingerprinter,
                {.io_uring = uring_reason_.empty(), .decode_threads = options.decode_threads}),
        mover_(files_, writer_, fingerprinter),
        earlier_(std::move(earlier)) {}

  Result<ChunkLocation> Append(const ChunkId& id, const EncodedChunk& chunk,
                               RoomFor room) override {
    if (chunk.raw_bytes == 0 || chunk.raw_bytes > kChunkBytesMax) {
      return Status(Code::kInvalid, "chunk of impossible size");
    }
    return writer_.Append(RecordType::kChunk, id.bytes, chunk, room);
  }

  Status AppendJournal(uint64_t sequence, ByteView record, RoomFor room) override {
    return AppendLabelled({sequence, 0, 0}, record, room);
  }

  Status AppendBaseJournal(const JournalLabel& label, ByteView record) override {
    CHECK(label.part > 0);
    return AppendLabelled(label, record, RoomFor::kCollection);
  }

  Status Sync() override { return writer_.Sync(); }

  Status Seal() override { return writer_.SealPacks(); }

  void KeepReserve(uint64_t bytes) override { writer_.KeepReserve(bytes); }

  bool DropReserve() override { return writer_.DropReserve(); }

  uint64_t reserve_bytes(RoomFor room) override { return writer_.reserve_bytes(room); }

  Status Move(std::span<ChunkMove> moves) override { return mover_.Move(moves); }

  Status Remove(uint32_t pack) override {
    const std::vector<uint32_t> packs = Packs();
    if (!std::binary_search(packs.begin(), packs.end(), pack))
      return Status(Code::kNotFound, "there is no pack " + PackFileName(pack));
    RETURN_IF_ERROR(writer_.Remove(pack));
    {
      MutexLock lock(mutex_);
      earlier_.erase(pack);
    }
    files_.Forget(pack);
    RETURN_IF_ERROR(writer_.SyncNames());
    writer_.RefillReserve();  // before others take what is free now
    return {};
  }

  Status Read(std::span<ChunkRead> reads, ReadFrom from) override {
    return reader_.Read(reads, from);
  }

  Status Scan(uint32_t pack, bool verify_payload, const ScanSink& sink) override {
    if (writer_.IsOpen(pack)) {
      // A fenced writer flushes no more; what its packs hold can be read.
      const Status status = writer_.Sync();
      if (!status.ok() && status.code() != Code::kReadOnly) return status;
    }
    ASSIGN_OR_RETURN(const std::shared_ptr<File> file, verify_payload
                                                           ? files_.OpenAnew(pack, /*direct=*/true)
                                                           : files_.Get(pack, /*direct=*/false));
    if (verify_payload) RETURN_IF_ERROR(CheckSize(pack, *file, sink));
    return PackScanner(*file, pack, fingerprinter_, sink).Scan(verify_payload);
  }

  std::vector<uint32_t> Packs() const override {
    std::vector<uint32_t> packs;
    for (const PackInfo& info : Infos()) packs.push_back(info.pack);
    return packs;
  }

  std::vector<PackInfo> Infos() const override {
    std::vector<PackInfo> infos;
    {
      MutexLock lock(mutex_);
      for (const auto& [pack, bytes] : earlier_) infos.push_back({pack, bytes, false});
    }
    const std::vector<PackInfo> made = writer_.Infos();
    infos.insert(infos.end(), made.begin(), made.end());
    return infos;
  }

  PackUsage Usage() const override {
    PackUsage usage;
    for (const PackInfo& info : Infos()) {
      ++usage.packs;
      usage.bytes += info.bytes;
    }
    return usage;
  }

  std::string uring_reason() const override { return uring_reason_; }

 private:
  Status CheckSize(uint32_t pack, File& file, const ScanSink& sink) {
    ASSIGN_OR_RETURN(const struct stat attributes, file.Stat());
    const auto bytes = static_cast<uint64_t>(attributes.st_size);
    for (const PackInfo& info : Infos()) {
      if (info.pack == pack && !info.writing && bytes < info.bytes && sink.on_damage)
        sink.on_damage(bytes, "cut off: it had " + std::to_string(info.bytes) + " bytes");
    }
    return {};
  }
  Status AppendLabelled(const JournalLabel& label, ByteView record, RoomFor room) {
    if (record.size() > kJournalBytesMax) return Status(Code::kInvalid, "journal too long");
    Encoder encoder;
    const EncodedChunk encoded = encoder.Encode(record);
    return writer_.Append(RecordType::kJournal, NameOf(label), encoded, room).status();
  }

  const Fingerprinter& fingerprinter_;
  const std::string uring_reason_;
  PackFiles files_;
  PackWriter writer_;
  PackReader reader_;
  PackMover mover_;

  mutable Mutex mutex_;
  EarlierPacks earlier_ GUARDED_BY(mutex_);  // but those that were removed
};

}  // namespace

Result<std::vector<JournalInfo>> PackStore::JournalsOf(uint32_t pack) {
  std::vector<JournalInfo> journals;
  ScanSink sink;
  sink.on_journal_info = [&](const JournalInfo& info) { journals.push_back(info); };
  RETURN_IF_ERROR(Scan(pack, /*verify_payload=*/false, sink));
  return journals;
}

Result<std::unique_ptr<PackStore>> OpenPackStore(Disk& disk, const std::string& path,
                                                 const Fingerprinter& fingerprinter,
                                                 const PackStoreOptions& options) {
  if (options.pack_bytes_target == 0 || options.pack_bytes_target > kPackBytesTargetMax) {
    return Status(Code::kInvalid, "impossible size of packs");
  }
  RETURN_IF_ERROR(disk.MakeDirectory(path));
  RETURN_IF_ERROR(disk.SyncDirectory(ParentOf(path)));
  ASSIGN_OR_RETURN(EarlierPacks earlier, FindPacks(disk, path));
  RETURN_IF_ERROR(FlushLast(disk, path, earlier));
  std::unique_ptr<Ring> ring;
  std::string uring_reason = "switched off";
  if (options.io_uring) {
    Result<std::unique_ptr<Ring>> opened = Ring::Open(kWritesInFlightMax);
    uring_reason = std::string(opened.status().context());
    if (opened.ok()) ring = std::move(opened).value();
  }
  return std::unique_ptr<PackStore>(
      std::make_unique<DiskPackStore>(disk, path, fingerprinter, options, std::move(earlier),
                                      std::move(ring), std::move(uring_reason)));
}

}  // namespace varve
