#include "index/lmdb_check.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>
#include <vector>

#include "index/lmdb_seal.h"
#include "store/base/unique_fd.h"

namespace varve {
namespace {

using PageNumber = uint64_t;

constexpr PageNumber kMetaPages = 2;
constexpr PageNumber kNoPage = ~PageNumber{0};
constexpr size_t kHeaderBytes = 16;
constexpr size_t kNodeHeaderBytes = 8;
constexpr unsigned kDepthMax = 32;
constexpr uint32_t kMagic = 0xbeefc0de;
constexpr uint32_t kVersion = 1;
constexpr uint16_t kIntegerKeys = 8;  // of the database of free pages
constexpr uint16_t kLargeValue = 1;   // of a node: its value is in pages of its own

enum PageKind : uint16_t { kBranch = 1, kLeaf = 2, kOverflow = 4, kMeta = 8 };

struct Database {
  uint16_t flags = 0;
  uint16_t depth = 0;
  uint64_t branch_pages = 0;
  uint64_t leaf_pages = 0;
  uint64_t overflow_pages = 0;
  uint64_t entries = 0;
  PageNumber root = kNoPage;

  static Database Read(ByteReader& in) {
    Database database;
    database.flags = in.U16();
    database.depth = in.U16();
    database.branch_pages = in.U64();
    database.leaf_pages = in.U64();
    database.overflow_pages = in.U64();
    database.entries = in.U64();
    database.root = in.U64();
    return database;
  }
  bool operator==(const Database&) const = default;
};

struct Meta {
  uint32_t page_bytes = 0;
  Database free;
  Database rows;
  PageNumber last_page = 0;
  uint64_t transaction = 0;
};

struct Node {
  uint16_t flags = 0;
  std::string_view key;
  uint64_t value_bytes = 0;  // of a leaf
  PageNumber child = 0;      // of a branch
  ByteView value;            // of a leaf: the value, or the number of its first page
};

Status Damaged(const std::string& what) { return Status(Code::kCorrupt, "index: " + what); }
Status Damaged(PageNumber page, const char* what) {
  return Damaged("page " + std::to_string(page) + ": " + what);
}

class FileMapping {
 public:
  static Result<FileMapping> Open(const std::string& path) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat attributes {};
    if (!file.valid() || ::fstat(file.get(), &attributes) != 0)
      return Status::Errno(errno, "index: open " + path);
    if (attributes.st_size == 0) return Damaged(path + " is empty");
    const auto size = static_cast<size_t>(attributes.st_size);
    void* const begin = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
    if (begin == MAP_FAILED) return Status::Errno(errno, "index: map " + path);
    // The walk follows the tree; the disk shall not.
    (void)::madvise(begin, size, MADV_WILLNEED);
    return FileMapping({static_cast<const uint8_t*>(begin), size});
  }
  FileMapping(FileMapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  FileMapping& operator=(FileMapping&&) = delete;
  ~FileMapping() {
    if (!bytes_.empty()) ::munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
  }

  ByteView bytes() const { return bytes_; }

 private:
  explicit FileMapping(ByteView bytes) : bytes_(bytes) {}

  ByteView bytes_;
};

// One page of nodes: what its header and offsets say, within its bounds.
class NodePage {
 public:
  NodePage(PageNumber number, ByteView bytes) : number_(number), bytes_(bytes) {}

  Status Open() {
    ByteReader header(bytes_);
    if (header.U64() != number_) return Damaged(number_, "it says that it is another");
    header.U16();
    kind_ = header.U16();
    const size_t lower = header.U16(), upper = header.U16();
    if (kind_ != kBranch && kind_ != kLeaf) return Damaged(number_, "it is of no known kind");
    if (lower < kHeaderBytes || lower > upper || upper > bytes_.size() || lower % 2 != 0)
      return Damaged(number_, "its bounds");
    count_ = (lower - kHeaderBytes) / 2;
    size_t used = 0;
    for (size_t i = 0; i < count_; ++i) {
      const size_t at = OffsetOf(i);
      if (at < upper || at % 2 != 0 || bytes_.size() - at < kNodeHeaderBytes)
        return Damaged(number_, "the place of a node");
      ASSIGN_OR_RETURN(const size_t node_bytes, NodeBytes(at));
      used += node_bytes;
    }
    // They lie side by side, so none overlaps another one.
    return used == bytes_.size() - upper ? Status() : Damaged(number_, "the sizes of its nodes");
  }

  bool branch() const { return kind_ == kBranch; }
  size_t count() const { return count_; }

  // REQUIRES: Open() succeeded, i < count().
  Node At(size_t i) const {
    ByteReader in(bytes_.subspan(OffsetOf(i)));
    const uint64_t low = in.U32();
    Node node;
    node.flags = in.U16();
    const size_t key_bytes = in.U16();
    node.key = AsText(in.Raw(key_bytes));
    if (branch()) {
      node.child = low | uint64_t{node.flags} << 32;
    } else {
      node.value_bytes = low;
      node.value = in.Raw(node.flags == kLargeValue ? sizeof(PageNumber) : low);
    }
    return node;
  }

 private:
  size_t OffsetOf(size_t i) const { return ByteReader(bytes_.subspan(kHeaderBytes + 2 * i)).U16(); }

  Result<size_t> NodeBytes(size_t at) const {
    ByteReader in(bytes_.subspan(at));
    const uint64_t low = in.U32();
    const uint16_t flags = in.U16();
    uint64_t bytes = kNodeHeaderBytes + in.U16();
    if (!branch()) {
      if (flags != 0 && flags != kLargeValue) return Damaged(number_, "the kind of a node");
      bytes += flags == kLargeValue ? sizeof(PageNumber) : low;
    }
    if (bytes > bytes_.size() - at) return Damaged(number_, "the size of a node");
    return static_cast<size_t>(bytes + bytes % 2);
  }

  PageNumber number_;
  ByteView bytes_;
  uint16_t kind_ = 0;
  size_t count_ = 0;
};

class FileCheck {
 public:
  explicit FileCheck(ByteView file) : file_(file) {}

  Status Run();

 private:
  // Keys of a page are not below `begin`, and below `end` if there is one.
  struct Bounds {
    std::string_view begin;
    std::optional<std::string_view> end;
  };
  struct Walk {
    const Database& claimed;
    bool free = false;  // which of the two databases it is
    Database counted;
  };

  Result<Meta> ReadMeta(PageNumber page) const;
  Status ChooseMeta();
  Status CheckDatabase(const Database& database, bool free);
  Status CheckTree(Walk& walk, PageNumber page, unsigned depth, const Bounds& bounds);
  Status CheckBranch(Walk& walk, PageNumber number, const NodePage& page, unsigned depth,
                     const Bounds& bounds);
  Status CheckLeaf(Walk& walk, PageNumber number, const NodePage& page, const Bounds& bounds);
  Result<ByteView> LargeValue(Walk& walk, PageNumber leaf, const Node& node);
  Status CheckFreePages(PageNumber leaf, const Node& node, ByteView value);
  // Each page is used once.
  Status Claim(PageNumber page, uint64_t count = 1);
  bool Before(const Walk& walk, std::string_view a, std::string_view b) const;
  ByteView PageAt(PageNumber page) const {
    return file_.subspan(page * meta_.page_bytes, meta_.page_bytes);
  }

  ByteView file_;
  Meta meta_;
  PageNumber pages_ = 0;  // whole ones in the file
  std::vector<bool> claimed_;
};

Result<Meta> FileCheck::ReadMeta(PageNumber page) const {
  const auto begin = static_cast<size_t>(page) * std::max<size_t>(meta_.page_bytes, 1);
  ByteReader in(file_.subspan(std::min(begin, file_.size())));
  const PageNumber number = in.U64();
  in.U16();
  const uint16_t kind = in.U16();
  in.U32();
  if (in.U32() != kMagic || kind != kMeta || number != page)
    return Damaged(page, "it holds no metadata");
  if (in.U32() != kVersion)
    return Status(Code::kUnsupported, "index: it was written by another version of LMDB");
  in.Raw(16);  // the address and the size of a mapping
  Meta meta;
  meta.page_bytes = in.U32();
  meta.free = Database::Read(in);
  in.U32();
  meta.rows = Database::Read(in);
  meta.last_page = in.U64();
  meta.transaction = in.U64();
  const bool sane = in.ok() && std::has_single_bit(meta.page_bytes) && meta.page_bytes >= 4096 &&
                    meta.page_bytes <= 32768 && meta.free.flags == kIntegerKeys &&
                    meta.rows.flags == 0;
  return sane ? Result<Meta>(meta) : Damaged(page, "the metadata");
}

// LMDB writes the two in turn.
Status FileCheck::ChooseMeta() {
  ASSIGN_OR_RETURN(const Meta even, ReadMeta(0));
  meta_.page_bytes = even.page_bytes;
  ASSIGN_OR_RETURN(const Meta odd, ReadMeta(1));
  const bool fresh = even.transaction == 0 && odd.transaction == 0;
  const bool in_turn =
      even.transaction % 2 == 0 && odd.transaction % 2 == 1 &&
      (even.transaction + 1 == odd.transaction || odd.transaction + 1 == even.transaction);
  if (even.page_bytes != odd.page_bytes || !(fresh || in_turn))
    return Damaged("its two pages of metadata do not belong together");
  meta_ = even.transaction < odd.transaction ? odd : even;
  return Status();
}

Status FileCheck::Run() {
  RETURN_IF_ERROR(ChooseMeta());
  pages_ = file_.size() / meta_.page_bytes;
  // Behind the end of the file there may be pages that were freed before they were written;
  // each has its number in the list of free pages.
  if (meta_.last_page < kMetaPages - 1 ||
      meta_.last_page >= pages_ + file_.size() / sizeof(PageNumber))
    return Damaged("its count of pages");
  claimed_.assign(meta_.last_page + 1, false);
  claimed_[0] = claimed_[1] = true;
  RETURN_IF_ERROR(CheckDatabase(meta_.free, /*free=*/true));
  RETURN_IF_ERROR(CheckDatabase(meta_.rows, /*free=*/false));
  const auto lost = std::find(claimed_.begin(), claimed_.end(), false);
  if (lost == claimed_.end()) return Status();
  return Damaged(static_cast<PageNumber>(lost - claimed_.begin()), "nothing leads to it");
}

Status FileCheck::CheckDatabase(const Database& database, bool free) {
  Walk walk{database, free, {}};
  walk.counted.flags = database.flags;
  walk.counted.root = database.root;
  if (database.root != kNoPage) {
    walk.counted.depth = database.depth;
    if (database.depth == 0 || database.depth > kDepthMax) return Damaged("the depth of its tree");
    RETURN_IF_ERROR(CheckTree(walk, database.root, 1, {}));
  }
  return walk.counted == database ? Status() : Damaged("what its metadata counts");
}

Status FileCheck::CheckTree(Walk& walk, PageNumber number, unsigned depth, const Bounds& bounds) {
  RETURN_IF_ERROR(Claim(number));
  if (number >= pages_) return Damaged(number, "it is behind the end of the file");
  NodePage page(number, PageAt(number));
  RETURN_IF_ERROR(page.Open());
  if (page.branch() != (depth < walk.claimed.depth)) return Damaged(number, "its depth");
  if (page.count() < (page.branch() ? 2u : 1u)) return Damaged(number, "it holds too little");
  return page.branch() ? CheckBranch(walk, number, page, depth, bounds)
                       : CheckLeaf(walk, number, page, bounds);
}

// The first node of a branch stands for all that is below the second one, whatever its key.
Status FileCheck::CheckBranch(Walk& walk, PageNumber number, const NodePage& page, unsigned depth,
                              const Bounds& bounds) {
  ++walk.counted.branch_pages;
  Bounds child = bounds;
  for (size_t i = 0; i < page.count(); ++i) {
    child.end = bounds.end;
    if (i + 1 < page.count()) child.end = page.At(i + 1).key;
    if (child.end && (child.end->empty() || !Before(walk, child.begin, *child.end)))
      return Damaged(number, "the order of its keys");
    RETURN_IF_ERROR(CheckTree(walk, page.At(i).child, depth + 1, child));
    if (child.end) child.begin = *child.end;
  }
  return Status();
}

Status FileCheck::CheckLeaf(Walk& walk, PageNumber number, const NodePage& page,
                            const Bounds& bounds) {
  ++walk.counted.leaf_pages;
  std::string_view last;
  for (size_t i = 0; i < page.count(); ++i) {
    const Node node = page.At(i);
    const bool in_order =
        i == 0 ? !Before(walk, node.key, bounds.begin) : Before(walk, last, node.key);
    if (node.key.empty() || !in_order || (bounds.end && !Before(walk, node.key, *bounds.end)))
      return Damaged(number, "the order of its keys");
    last = node.key;
    ++walk.counted.entries;
    ByteView value = node.value;
    if (node.flags == kLargeValue) {
      ASSIGN_OR_RETURN(value, LargeValue(walk, number, node));
    }
    if (walk.free) {
      RETURN_IF_ERROR(CheckFreePages(number, node, value));
    } else if (!Unseal(node.key, AsText(value)).ok()) {
      return Damaged(number, "the checksum of a row");
    }
  }
  return Status();
}

Result<ByteView> FileCheck::LargeValue(Walk& walk, PageNumber leaf, const Node& node) {
  const PageNumber first = ByteReader(node.value).U64();
  if (first < kMetaPages || first >= pages_) return Damaged(leaf, "the place of a large value");
  ByteReader header(PageAt(first));
  const bool named = header.U64() == first;
  header.U16();
  const bool overflow = header.U16() == kOverflow;
  const uint64_t count = header.U32();
  if (!named || !overflow || count == 0 || count > pages_ - first ||
      node.value_bytes > count * meta_.page_bytes - kHeaderBytes)
    return Damaged(first, "the header of a large value");
  RETURN_IF_ERROR(Claim(first, count));
  walk.counted.overflow_pages += count;
  return file_.subspan(first * meta_.page_bytes + kHeaderBytes, node.value_bytes);
}

// A row of the list of free pages: a transaction, and what that freed: their count, their numbers.
Status FileCheck::CheckFreePages(PageNumber leaf, const Node& node, ByteView value) {
  if (node.key.size() != sizeof(uint64_t) || ByteReader(node.key).U64() > meta_.transaction)
    return Damaged(leaf, "the number of a transaction");
  ByteReader in(value);
  const uint64_t count = in.U64();
  if (!in.ok() || count > in.remaining() / sizeof(PageNumber))
    return Damaged(leaf, "a list of free pages");
  PageNumber last = kNoPage;
  for (uint64_t i = 0; i < count; ++i) {
    const PageNumber page = in.U64();
    if (page >= last) return Damaged(leaf, "the order of free pages");
    last = page;
    RETURN_IF_ERROR(Claim(page));
  }
  return Status();
}

Status FileCheck::Claim(PageNumber page, uint64_t count) {
  for (PageNumber end = page + count; page < end; ++page) {
    if (page < kMetaPages || page > meta_.last_page) return Damaged(page, "there is no such page");
    if (claimed_[page]) return Damaged(page, "it is used twice");
    claimed_[page] = true;
  }
  return Status();
}

bool FileCheck::Before(const Walk& walk, std::string_view a, std::string_view b) const {
  if (!walk.free || a.size() != b.size() || a.size() != sizeof(uint64_t)) return a < b;
  return ByteReader(a).U64() < ByteReader(b).U64();
}

}  // namespace

Status CheckLmdbFile(const std::string& path) {
  ASSIGN_OR_RETURN(const FileMapping file, FileMapping::Open(path));
  return FileCheck(file.bytes()).Run();
}

}  // namespace varve
