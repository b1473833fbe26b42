// The bytes of one simulated file: what the page cache has, and what the disk has.
//
// Threads: none of its own; SimDisk's mutex guards it.
// Units:   bytes; pages of kPageBytes. A page that is not there is a hole.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "store/base/bytes.h"
#include "tests/support/random.h"

namespace varve::testing {

class SimContent {
 public:
  static constexpr uint64_t kPageBytes = 4096;
  // What a disk writes whole or not at all.
  static constexpr uint64_t kSectorBytes = 512;

  struct Segment {
    uint64_t offset;
    uint64_t size;
    bool hole;
  };

  uint64_t size() const { return size_; }
  // Allocated, beyond the end too.
  uint64_t page_count() const { return pages_.size(); }
  // Pages that writing or allocating the range would add.
  uint64_t PagesMissing(uint64_t offset, uint64_t size) const;

  size_t Read(uint64_t offset, MutableBytes out) const;
  void Write(uint64_t offset, ByteView bytes);
  void Truncate(uint64_t size);
  // Gives the range pages; bytes that were there stay.
  void Allocate(uint64_t offset, uint64_t size);
  // Makes the range zeros, and holes where it covers whole pages.
  void Punch(uint64_t offset, uint64_t size);
  // Empty where lseek(2) fails with ENXIO.
  std::optional<uint64_t> SeekData(uint64_t offset) const;
  std::optional<uint64_t> SeekHole(uint64_t offset) const;
  // The range, cut at the end of the file, as data and holes.
  std::vector<Segment> Segments(uint64_t offset, uint64_t size) const;

  // The disk has from now on what the page cache has, but for what FailSync lost.
  void Sync();
  // A write-back that fails, as Linux does it: what was dirty is held to be clean.
  // A later Sync leaves it out, until it is written again.
  void FailSync();
  // Only what reached the disk is left; see the fault model in sim_disk.h.
  void PowerCut(Random& random);

 private:
  using Page = std::array<uint8_t, kPageBytes>;
  using PagePointer = std::shared_ptr<const Page>;
  using Pages = std::map<uint64_t, PagePointer>;

  static const PagePointer& ZeroPage();
  static const Page& PageAt(const Pages& pages, uint64_t index);
  // A page of its own, to be changed.
  Page& MutablePage(uint64_t index);
  void Erase(Pages::iterator page);
  void ZeroInsidePage(uint64_t offset, uint64_t size);
  void MarkDirty(uint64_t index);

  Pages pages_;
  uint64_t size_ = 0;
  Pages durable_pages_;
  uint64_t durable_size_ = 0;
  // Where pages_ may differ from durable_pages_; `lost_`: and Sync will not help.
  std::set<uint64_t> dirty_;
  std::set<uint64_t> lost_;
};

}  // namespace varve::testing
