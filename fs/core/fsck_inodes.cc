#include "fs/core/fsck_inodes.h"

#include <fmt/format.h>

#include <algorithm>

namespace varve {
namespace {

bool TypeIsKnown(mode_t mode) {
  return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || S_ISCHR(mode) || S_ISBLK(mode) ||
         S_ISFIFO(mode) || S_ISSOCK(mode);
}

// What is wrong with the record by itself, or "".
std::string WhyStrange(InodeNumber inode, const InodeRecord& record) {
  if (!TypeIsKnown(record.mode)) return fmt::format("has the unknown mode {:o}", record.mode);
  if (S_ISDIR(record.mode) && record.history == 0) return "is a directory without a history";
  if (!S_ISREG(record.mode) && record.content != 0) return "has a content and is no regular file";
  if (inode == kRootNode && !S_ISDIR(record.mode)) return "is the root and no directory";
  if (inode == kRootNode && record.parent != kRootNode) return "is the root and has a parent";
  return "";
}

void MakeSense(InodeNumber inode, InodeRecord* record) {
  if (!TypeIsKnown(record->mode)) record->mode = S_IFREG | (record->mode & 0777);
  if (inode == kRootNode) {
    record->mode = S_IFDIR | (record->mode & 07777);
    record->parent = kRootNode;
    record->name.clear();
  }
  if (!S_ISREG(record->mode)) record->content = 0;
  if (S_ISDIR(record->mode) && record->history == 0) record->history = inode;
}

}  // namespace

uint64_t HashOfName(const Fingerprinter& fingerprinter, InodeNumber parent, std::string_view name) {
  std::string text;
  ByteWriter out(&text);
  out.U64(parent);
  out.Raw(AsBytes(name));
  return fingerprinter.Hash64(AsBytes(text));
}

Status InodeTable::Load(FsckContext& context) {
  facts_.clear();
  std::vector<InodeNumber> strange;
  RETURN_IF_ERROR(
      context.ScanTable(key::kInode, [&](std::string_view row_key, std::string_view row) {
        const Result<InodeRecord> record = InodeRecord::Decode(row);
        if (!record.ok()) return;
        InodeFacts facts;
        facts.inode = key::Id(row_key);
        facts.content = record->content;
        facts.history = record->history;
        facts.hint = HashOfName(context.d.fingerprinter, record->parent, record->name);
        facts.size_bytes = record->size_bytes;
        facts.links = record->links;
        facts.type = record->mode & S_IFMT;
        facts_.push_back(facts);
        if (!WhyStrange(facts.inode, *record).empty()) strange.push_back(facts.inode);
      }));
  for (const InodeNumber inode : strange) {
    ASSIGN_OR_RETURN(InodeRecord record, context.d.tree.Inode(inode));
    context.Found(
        fmt::format("{} (inode {}) {}", context.PathOf(inode), inode, WhyStrange(inode, record)),
        "the record is set right");
    if (!context.repair()) continue;
    MakeSense(inode, &record);
    Batch batch;
    Tree::PutInode(inode, record, &batch);
    RETURN_IF_ERROR(context.Apply(batch));
    InodeFacts& facts = *Find(inode);
    facts.type = record.mode & S_IFMT;
    facts.content = record.content;
    facts.history = record.history;
  }
  return Status();
}

InodeFacts* InodeTable::Find(InodeNumber inode) {
  const auto found = std::lower_bound(
      facts_.begin(), facts_.end(), inode,
      [](const InodeFacts& facts, InodeNumber number) { return facts.inode < number; });
  return found != facts_.end() && found->inode == inode ? &*found : nullptr;
}

InodeNumber InodeTable::DirectoryOf(HistoryId history) const {
  for (const InodeFacts& facts : facts_)
    if (facts.directory() && facts.history == history) return facts.inode;
  return 0;
}

}  // namespace varve
