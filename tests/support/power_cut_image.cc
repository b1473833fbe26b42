#include "tests/support/power_cut_image.h"

#include <algorithm>
#include <utility>

#include "tests/support/random.h"

namespace varve::testing {
namespace {

constexpr uint64_t kSector = PowerCutImage::kSectorBytes;

}  // namespace

Result<PowerCutImage::Loss> PowerCutImage::LossFromName(std::string_view name) {
  if (name == "all") return Loss::kAll;
  if (name == "tail") return Loss::kTail;
  if (name == "random") return Loss::kRandom;
  return Status(Code::kInvalid, "no such loss: " + std::string(name));
}

PowerCutImage::PowerCutImage(std::unique_ptr<PosixDisk> directory, std::unique_ptr<File> file,
                             uint64_t size, uint64_t cache_bytes)
    : directory_(std::move(directory)),
      file_(std::move(file)),
      size_(size),
      cache_bytes_(cache_bytes) {}

Result<std::unique_ptr<PowerCutImage>> PowerCutImage::Open(const std::string& path,
                                                           uint64_t cache_bytes) {
  const size_t slash = path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  ASSIGN_OR_RETURN(auto directory, PosixDisk::Open(parent));
  ASSIGN_OR_RETURN(auto file, directory->Open(path.substr(slash + 1), OpenMode::kReadWrite));
  ASSIGN_OR_RETURN(const struct stat attributes, file->Stat());
  const auto size = static_cast<uint64_t>(attributes.st_size);
  if (size == 0 || size % kSector != 0) {
    return Status(Code::kInvalid, path + " is not a whole number of sectors");
  }
  return std::unique_ptr<PowerCutImage>(
      new PowerCutImage(std::move(directory), std::move(file), size, cache_bytes));
}

Status PowerCutImage::Check(uint64_t offset, uint64_t size) const {
  if (cut_) return Status::Errno(EIO, "the power was cut");
  if (offset % kSector != 0 || size % kSector != 0 || offset > size_ || size > size_ - offset) {
    return Status::Errno(EINVAL, "not whole sectors of the disk");
  }
  return {};
}

Status PowerCutImage::Read(uint64_t offset, MutableBytes out) {
  RETURN_IF_ERROR(Check(offset, out.size()));
  ASSIGN_OR_RETURN(const size_t got, file_->ReadAt(offset, out));
  return got == out.size() ? Status() : Status::Errno(EIO, "the image was cut off");
}

Status PowerCutImage::Write(uint64_t offset, ByteView bytes) {
  std::vector<uint8_t> before(bytes.size());
  RETURN_IF_ERROR(Read(offset, before));
  ++counts_.writes;
  ++counts_.unflushed_writes;
  counts_.unflushed_bytes += bytes.size();
  unflushed_.push_back({offset, std::move(before)});
  while (counts_.unflushed_bytes > cache_bytes_) {
    counts_.unflushed_bytes -= unflushed_.front().before.size();
    --counts_.unflushed_writes;
    unflushed_.pop_front();
  }
  return file_->WriteAt(offset, bytes);
}

Status PowerCutImage::Flush() {
  RETURN_IF_ERROR(Check(0, 0));
  ++counts_.flushes;
  counts_.unflushed_writes = counts_.unflushed_bytes = 0;
  unflushed_.clear();
  return {};
}

Status PowerCutImage::Cut(Loss loss, uint64_t seed) {
  RETURN_IF_ERROR(Check(0, 0));
  cut_ = true;
  switch (loss) {
    case Loss::kAll:
      return LoseTail(0);
    case Loss::kTail: {
      const uint64_t sectors = counts_.unflushed_bytes / kSector;
      return LoseTail(Random(seed).Between(0, sectors));
    }
    case Loss::kRandom:
      return LoseRandom(seed);
  }
  return {};
}

// Takes back, newest first, all but the first `kept` sectors in the order of writing.
Status PowerCutImage::LoseTail(uint64_t kept) {
  uint64_t sectors = counts_.unflushed_bytes / kSector;
  for (auto write = unflushed_.rbegin(); write != unflushed_.rend() && sectors > kept; ++write) {
    const uint64_t own = write->before.size() / kSector;
    const uint64_t lost = std::min(own, sectors - kept);
    const uint64_t from = (own - lost) * kSector;
    RETURN_IF_ERROR(file_->WriteAt(write->offset + from,
                                   ByteView(write->before).subspan(static_cast<size_t>(from))));
    counts_.lost_sectors += lost;
    sectors -= own;
  }
  return {};
}

Status PowerCutImage::LoseRandom(uint64_t seed) {
  Random random(seed);
  // What each sector held before each of its unflushed writes.
  std::map<uint64_t, std::vector<const uint8_t*>> history;
  for (const Unflushed& write : unflushed_) {
    for (uint64_t at = 0; at < write.before.size(); at += kSector) {
      history[write.offset + at].push_back(write.before.data() + at);
    }
  }
  // Mostly kept, mostly lost or mixed: the three find different mistakes.
  constexpr uint64_t kKeptOf16[] = {1, 8, 15};
  const uint64_t kept = kKeptOf16[random.Below(std::size(kKeptOf16))];
  for (const auto& [offset, before] : history) {
    if (random.Chance(kept, 16)) continue;
    const uint8_t* older = before[static_cast<size_t>(random.Below(before.size()))];
    RETURN_IF_ERROR(file_->WriteAt(offset, {older, static_cast<size_t>(kSector)}));
    ++counts_.lost_sectors;
  }
  return {};
}

}  // namespace varve::testing
