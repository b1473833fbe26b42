// Scanning hostile packs. The input is a pack file; where its first byte is odd,
// the hashes are mended first, so that what they protect is fuzzed too.

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <vector>

#include "store/pack/pack_format.h"
#include "store/pack/pack_scanner.h"

namespace varve {
namespace {

constexpr uint32_t kPack = 1;

// A file that can only be read.
class MemoryFile final : public File {
 public:
  explicit MemoryFile(ByteView bytes) : bytes_(bytes) {}

  Result<size_t> ReadAt(uint64_t offset, MutableBytes out) override {
    if (offset >= bytes_.size()) return size_t{0};
    const ByteView from = bytes_.subspan(static_cast<size_t>(offset));
    const size_t size = std::min(from.size(), out.size());
    std::copy_n(from.begin(), size, out.begin());
    return size;
  }
  Result<struct stat> Stat() override {
    struct stat attributes {};
    attributes.st_size = static_cast<off_t>(bytes_.size());
    return attributes;
  }
  Status WriteAt(uint64_t, ByteView) override { return ReadOnly(); }
  Status Truncate(uint64_t) override { return ReadOnly(); }
  Status Allocate(int, uint64_t, uint64_t) override { return ReadOnly(); }
  Result<uint64_t> Seek(uint64_t, int) override { return ReadOnly(); }
  Result<uint64_t> CopyFrom(File&, uint64_t, uint64_t, uint64_t) override { return ReadOnly(); }
  Status SyncData() override { return ReadOnly(); }
  Status SetTimes(const struct timespec[2]) override { return ReadOnly(); }
  Status AcquireLease() override { return ReadOnly(); }
  bool LeaseHolds() override { return false; }
  bool IsUsedAlone() override { return false; }
  void DropLease() override {}

 private:
  static Status ReadOnly() { return Status(Code::kReadOnly); }

  const ByteView bytes_;
};

void PutWord(uint64_t word, MutableBytes at) {
  for (size_t i = 0; i < sizeof(word); ++i) at[i] = static_cast<uint8_t>(word >> (8 * i));
}

// Every header that looks like one gets the hashes, the pack and the place that
// make it one.
void Mend(MutableBytes bytes, const Fingerprinter& fingerprinter) {
  constexpr size_t kHashed = kHeaderBytes - sizeof(uint64_t);
  constexpr size_t kStoredAt = 8;
  constexpr size_t kPayloadHashAt = 32;
  constexpr size_t kPlaceAt = 40;
  for (size_t at = 0; at + kHeaderBytes <= bytes.size(); at += kRecordAlignment) {
    const MutableBytes header = bytes.subspan(at, kHeaderBytes);
    const bool record = ByteReader(header).U32() == kRecordMagic;
    if (!record && at != 0 && !AsText(header).starts_with("VARVEEND")) continue;
    if (record) {
      const size_t stored = ByteReader(header.subspan(kStoredAt)).U32();
      if (at + kHeaderBytes + stored <= bytes.size()) {
        PutWord(fingerprinter.Hash64(bytes.subspan(at + kHeaderBytes, stored)),
                header.subspan(kPayloadHashAt));
      }
      PutWord(kPack | uint64_t{at} << 32, header.subspan(kPlaceAt));
    }
    PutWord(fingerprinter.Hash64(header.first(kHashed)), header.subspan(kHashed));
  }
}

void ScanTwice(ByteView pack, const Fingerprinter& fingerprinter) {
  for (const bool verify : {false, true}) {
    uint64_t records = 0;
    PackStore::ScanSink sink;
    sink.on_chunk = [&](const ChunkId&, const ChunkLocation& location) {
      if (location.pack != kPack || ++records > pack.size()) std::abort();
      if (verify && location.offset_bytes + uint64_t{kHeaderBytes} > pack.size()) std::abort();
    };
    sink.on_journal = [&](uint64_t, ByteView record) {
      if (record.size() > kJournalBytesMax || ++records > pack.size()) std::abort();
    };
    sink.on_damage = [&](uint64_t offset, const std::string& why) {
      if (offset > pack.size() || why.empty()) std::abort();
    };
    MemoryFile file(pack);
    const Status status = PackScanner(file, kPack, fingerprinter, sink).Scan(verify);
    if (!status.ok() && status.code() != Code::kUnsupported) std::abort();
  }
}

}  // namespace
}  // namespace varve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const varve::Fingerprinter fingerprinter(std::string(varve::Fingerprinter::kSecretBytes, 's'));
  std::vector<uint8_t> pack(data + 1, data + size);
  if (data[0] % 2 == 1) varve::Mend(pack, fingerprinter);
  varve::ScanTwice(pack, fingerprinter);
  return 0;
}
