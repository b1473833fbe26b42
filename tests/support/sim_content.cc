#include "tests/support/sim_content.h"

#include <algorithm>
#include <cstring>

namespace varve::testing {
namespace {

constexpr uint64_t kPage = SimContent::kPageBytes;

uint64_t PageOf(uint64_t offset) { return offset / kPage; }
// The first page that lies wholly at or behind `offset`.
uint64_t PageBehind(uint64_t offset) { return offset / kPage + (offset % kPage != 0 ? 1 : 0); }

}  // namespace

const SimContent::PagePointer& SimContent::ZeroPage() {
  static const PagePointer zero = std::make_shared<Page>();
  return zero;
}

const SimContent::Page& SimContent::PageAt(const Pages& pages, uint64_t index) {
  const auto found = pages.find(index);
  return found == pages.end() ? *ZeroPage() : *found->second;
}

void SimContent::MarkDirty(uint64_t index) {
  dirty_.insert(index);
  lost_.erase(index);
}

SimContent::Page& SimContent::MutablePage(uint64_t index) {
  MarkDirty(index);
  PagePointer& page = pages_.try_emplace(index, ZeroPage()).first->second;
  // Shared pages are somebody's durable content, or the zero page.
  auto own =
      page.use_count() > 1 ? std::make_shared<Page>(*page) : std::const_pointer_cast<Page>(page);
  page = own;
  return *own;
}

void SimContent::Erase(Pages::iterator page) {
  MarkDirty(page->first);
  pages_.erase(page);
}

void SimContent::ZeroInsidePage(uint64_t offset, uint64_t size) {
  if (size == 0 || pages_.count(PageOf(offset)) == 0) return;
  std::memset(MutablePage(PageOf(offset)).data() + offset % kPage, 0, static_cast<size_t>(size));
}

uint64_t SimContent::PagesMissing(uint64_t offset, uint64_t size) const {
  if (size == 0) return 0;
  const uint64_t first = PageOf(offset);
  const uint64_t end = PageBehind(offset + size);
  const auto there = std::distance(pages_.lower_bound(first), pages_.lower_bound(end));
  return end - first - static_cast<uint64_t>(there);
}

size_t SimContent::Read(uint64_t offset, MutableBytes out) const {
  if (offset >= size_) return 0;
  const size_t size = static_cast<size_t>(std::min<uint64_t>(out.size(), size_ - offset));
  for (size_t done = 0; done < size;) {
    const uint64_t at = offset + done;
    const size_t part = std::min(size - done, static_cast<size_t>(kPage - at % kPage));
    std::memcpy(out.data() + done, PageAt(pages_, PageOf(at)).data() + at % kPage, part);
    done += part;
  }
  return size;
}

void SimContent::Write(uint64_t offset, ByteView bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const uint64_t at = offset + done;
    const size_t part = std::min(bytes.size() - done, static_cast<size_t>(kPage - at % kPage));
    std::memcpy(MutablePage(PageOf(at)).data() + at % kPage, bytes.data() + done, part);
    done += part;
  }
  if (!bytes.empty()) size_ = std::max(size_, offset + bytes.size());
}

void SimContent::Truncate(uint64_t size) {
  if (size <= size_) {  // also what was only allocated behind the end
    auto page = pages_.lower_bound(PageBehind(size));
    while (page != pages_.end()) Erase(page++);
    if (size < size_ && size % kPage != 0) ZeroInsidePage(size, kPage - size % kPage);
  }
  size_ = size;
}

void SimContent::Allocate(uint64_t offset, uint64_t size) {
  for (uint64_t index = PageOf(offset); index < PageBehind(offset + size); ++index) {
    if (pages_.try_emplace(index, ZeroPage()).second) MarkDirty(index);
  }
}

void SimContent::Punch(uint64_t offset, uint64_t size) {
  const uint64_t end = offset + size;
  const uint64_t first_whole = PageBehind(offset);
  const uint64_t end_whole = PageOf(end);
  if (first_whole > end_whole) {  // inside one page
    ZeroInsidePage(offset, size);
    return;
  }
  auto page = pages_.lower_bound(first_whole);
  while (page != pages_.end() && page->first < end_whole) Erase(page++);
  ZeroInsidePage(offset, first_whole * kPage - offset);
  ZeroInsidePage(end_whole * kPage, end - end_whole * kPage);
}

std::optional<uint64_t> SimContent::SeekData(uint64_t offset) const {
  if (offset >= size_) return std::nullopt;
  const auto page = pages_.lower_bound(PageOf(offset));
  if (page == pages_.end()) return std::nullopt;
  const uint64_t found = std::max(offset, page->first * kPage);
  return found < size_ ? std::optional(found) : std::nullopt;
}

std::optional<uint64_t> SimContent::SeekHole(uint64_t offset) const {
  if (offset >= size_) return std::nullopt;
  uint64_t index = PageOf(offset);
  for (auto page = pages_.find(index); page != pages_.end() && page->first == index; ++page)
    ++index;
  return std::min(size_, std::max(offset, index * kPage));
}

std::vector<SimContent::Segment> SimContent::Segments(uint64_t offset, uint64_t size) const {
  std::vector<Segment> segments;
  const uint64_t end = offset >= size_ ? offset : offset + std::min(size, size_ - offset);
  while (offset < end) {
    const uint64_t data = std::min(end, SeekData(offset).value_or(end));
    const bool hole = data > offset;
    const uint64_t next = hole ? data : std::min(end, SeekHole(offset).value_or(end));
    segments.push_back({offset, next - offset, hole});
    offset = next;
  }
  return segments;
}

void SimContent::Sync() {
  for (const uint64_t index : dirty_) {
    const auto page = pages_.find(index);
    if (page == pages_.end()) {
      durable_pages_.erase(index);
    } else {
      durable_pages_[index] = page->second;
    }
  }
  dirty_.clear();
  durable_size_ = size_;
}

void SimContent::FailSync() {
  lost_.merge(dirty_);
  dirty_.clear();
}

void SimContent::PowerCut(Random& random) {
  dirty_.merge(lost_);
  lost_.clear();
  Pages survived = durable_pages_;
  for (const uint64_t index : dirty_) {
    if (durable_pages_.count(index) == 0 && pages_.count(index) == 0) continue;
    const Page& old_page = PageAt(durable_pages_, index);
    const Page& new_page = PageAt(pages_, index);
    auto page = std::make_shared<Page>();
    for (uint64_t at = 0; at < kPage; at += kSectorBytes) {
      const Page& from = random.Chance(1, 2) ? new_page : old_page;
      std::memcpy(page->data() + at, from.data() + at, kSectorBytes);
    }
    survived[index] = std::move(page);
  }
  uint64_t size = durable_size_;
  if (durable_size_ != size_) {
    const auto [low, high] = std::minmax(durable_size_, size_);
    const uint64_t choices[] = {durable_size_, size_, random.Between(low, high)};
    size = choices[random.Below(std::size(choices))];
  }
  dirty_.clear();
  pages_ = std::move(survived);
  // Cuts off what lies behind the end, as if the disk had never been told of it.
  size_ = std::max(size_, durable_size_);
  Truncate(size);
  dirty_.clear();
  durable_pages_ = pages_;
  durable_size_ = size_;
}

}  // namespace varve::testing
