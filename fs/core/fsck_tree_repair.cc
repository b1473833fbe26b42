// Repairing the directory tree, one kind of fault at a time.

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "fs/core/fsck_tree.h"

namespace varve {
namespace {

constexpr char kLostAndFound[] = "lost+found";
constexpr mode_t kPrivate = 0700;

InodeRecord NewRecord(mode_t mode, const InodeRecord& parent, InodeNumber parent_inode,
                      const std::string& name, const struct timespec& now) {
  InodeRecord record;
  record.mode = mode;
  record.uid = parent.uid;
  record.gid = parent.gid;
  record.links = S_ISDIR(mode) ? 2 : 1;
  record.parent = parent_inode;
  record.name = name;
  record.access_time = record.modify_time = record.change_time = record.birth_time = now;
  return record;
}

}  // namespace

Status TreeCheck::CheckRoot() {
  ASSIGN_OR_RETURN(const std::optional<std::string> root,
                   context_.d.catalog.Get(key::Inode(kRootNode)));
  if (!root)
    context_.Found("the root directory is gone", "it is made anew, owned by whoever repairs");
  // Which also loads the counter of numbers.
  return context_.repair() ? context_.d.tree.Open(geteuid(), getegid()) : Status();
}

// Names below a directory whose record is gone: only its own attributes are lost.
Status TreeCheck::FixMissingDirectories() {
  for (const InodeNumber inode : missing_directories_) {
    context_.Found(fmt::format("directory {} has entries and no record", inode),
                   "it is made anew, with mode 0700, where it is named or in /lost+found");
    if (!context_.repair()) continue;
    ASSIGN_OR_RETURN(const InodeRecord root, context_.d.tree.Inode(kRootNode));
    InodeRecord record = NewRecord(S_IFDIR | kPrivate, root, kRootNode, "", context_.d.tree.Now());
    record.history = inode;
    Batch batch;
    Tree::PutInode(inode, record, &batch);
    RETURN_IF_ERROR(context_.Apply(batch));
  }
  return Status();
}

Status TreeCheck::FixEntries() {
  // From the last: a removal moves up what lies behind it.
  for (auto bad = bad_entries_.rbegin(); bad != bad_entries_.rend(); ++bad)
    RETURN_IF_ERROR(FixEntry(*bad));
  return Status();
}

Status TreeCheck::FixEntry(const BadEntry& bad) {
  ASSIGN_OR_RETURN(const std::optional<std::string> row,
                   context_.d.catalog.Get(key::Dirent(bad.parent, bad.slot)));
  if (!row) return Status();
  ASSIGN_OR_RETURN(const DirentRecord entry, DirentRecord::Decode(*row));
  const std::string path = context_.PathOf(bad.parent, entry.name);
  const std::string inode = fmt::format("inode {}", entry.inode);
  const auto remove = [&](std::string what, const char* remedy) {
    context_.Found(std::move(what), remedy);
    return context_.repair() ? RemoveEntry(bad.parent, bad.slot) : Status();
  };
  switch (bad.fault) {
    case Fault::kBadName:
      return remove(path + " is no name that a file can have",
                    "it is removed; what it named goes to /lost+found");
    case Fault::kNotInDirectory:
      return remove(path + " is below something that is no directory",
                    "it is removed; what it named goes to /lost+found");
    case Fault::kTwice:
      return remove(path + " is there twice",
                    "the second one is removed; what it named goes to /lost+found");
    case Fault::kSecondName:
      return remove(path + " is a second name of directory " + inode, "it is removed");
    case Fault::kWrongSlot:
    case Fault::kWrongType:
      context_.Found(
          path + (bad.fault == Fault::kWrongSlot ? " is where a look-up does not find it"
                                                 : " has another type than what it names"),
          "the entry is written anew");
      return context_.repair() ? Replace(bad.parent, bad.slot, entry) : Status();
    case Fault::kNoInode:
    case Fault::kNone:
      break;
  }
  ASSIGN_OR_RETURN(const std::optional<InodeRecord> record, Reconstruct(bad.parent, entry));
  if (!record) return remove(path + " names " + inode + ", which is gone", "the name is removed");
  context_.Found(path + " names " + inode + ", which is gone",
                 S_ISDIR(record->mode) ? "an empty directory is made for it, with mode 0700"
                 : S_ISLNK(record->mode)
                     ? "the symbolic link is put together again"
                     : "the file is put together again from its newest version");
  if (!context_.repair()) return Status();
  ASSIGN_OR_RETURN(const std::optional<std::string> present,
                   context_.d.catalog.Get(key::Inode(entry.inode)));
  if (present) return Status();  // by another of its names
  Batch batch;
  Tree::PutInode(entry.inode, *record, &batch);
  return context_.Apply(batch);
}

Result<std::optional<InodeRecord>> TreeCheck::Reconstruct(InodeNumber parent,
                                                          const DirentRecord& entry) {
  const std::optional<InodeRecord> nothing;
  const Result<InodeRecord> directory = context_.d.tree.Inode(parent);
  if (!directory.ok()) return nothing;
  InodeRecord record =
      NewRecord(entry.type | kPrivate, *directory, parent, entry.name, context_.d.tree.Now());
  Catalog& catalog = context_.d.catalog;
  if (S_ISDIR(entry.type)) {
    record.history = entry.inode;
    return std::optional<InodeRecord>(record);
  }
  if (S_ISLNK(entry.type)) {
    ASSIGN_OR_RETURN(const std::optional<std::string> target,
                     catalog.Get(key::Symlink(entry.inode)));
    if (!target) return nothing;
    record.mode = S_IFLNK | 0777;
    record.size_bytes = target->size();
    return std::optional<InodeRecord>(record);
  }
  if (!S_ISREG(entry.type)) return nothing;
  ASSIGN_OR_RETURN(const std::optional<std::string> counters,
                   catalog.Get(key::Name(directory->history, entry.name)));
  if (!counters) return nothing;
  const Result<NameRecord> name = NameRecord::Decode(*counters);
  if (!name.ok()) return nothing;
  ASSIGN_OR_RETURN(const std::optional<std::string> row,
                   catalog.Get(key::Version(directory->history, entry.name, name->last_version)));
  if (!row) return nothing;
  const Result<VersionRecord> version = VersionRecord::Decode(*row);
  if (!version.ok() || version->inode != entry.inode) return nothing;
  record.mode = version->mode;
  record.uid = version->uid;
  record.gid = version->gid;
  record.content = version->content;
  record.size_bytes = version->size_bytes;
  record.modify_time = version->modify_time;
  return std::optional<InodeRecord>(record);
}

Status TreeCheck::RemoveEntry(InodeNumber parent, uint64_t slot) {
  Batch batch;
  RETURN_IF_ERROR(context_.d.tree.RemoveName(parent, slot, &batch));
  return context_.Apply(batch);
}

Status TreeCheck::Replace(InodeNumber parent, uint64_t slot, const DirentRecord& entry) {
  RETURN_IF_ERROR(RemoveEntry(parent, slot));
  const Result<uint64_t> right = context_.d.tree.SlotForNew(parent, entry.name);
  if (!right.ok()) return Status();  // there already; what it named is nameless in the next round
  ASSIGN_OR_RETURN(const InodeRecord record, context_.d.tree.Inode(entry.inode));
  Batch batch;
  Tree::PutName(parent, *right, {entry.inode, record.mode & S_IFMT, entry.name}, &batch);
  return context_.Apply(batch);
}

// The names that it has are its own; what it only showed is lost.
Status TreeCheck::LoseOriginal(InodeNumber clone) {
  context_.Found(context_.PathOf(clone) + " is a clone of a directory that is gone",
                 "it keeps the names that were looked up or changed in it");
  if (!context_.repair()) return Status();
  std::vector<Batch::Change> dropped = {{key::Clone(clone), std::nullopt}};
  const key::Range range = key::AllDirents(clone);
  RETURN_IF_ERROR(context_.d.catalog.Scan(
      range.begin, range.end, [&](std::string_view row_key, std::string_view row) {
        const Result<DirentRecord> entry = DirentRecord::Decode(row);
        if (entry.ok() && (entry->gone() || entry->moment != 0))
          dropped.push_back({std::string(row_key), std::nullopt});
        return true;
      }));
  return context_.ApplyAll(dropped);
}

Status TreeCheck::BreakLoops() {
  for (const InodeNumber inode : loops_) {
    const InodeFacts& facts = *inodes_.Find(inode);
    context_.Found(fmt::format("directory {} lies below itself", inode),
                   "it is taken out of there, and goes to /lost+found");
    if (!context_.repair()) continue;
    std::vector<uint64_t> slots;
    const key::Range range = key::AllDirents(facts.named_in);
    RETURN_IF_ERROR(context_.d.catalog.Scan(
        range.begin, range.end, [&](std::string_view row_key, std::string_view row) {
          const Result<DirentRecord> entry = DirentRecord::Decode(row);
          if (entry.ok() && entry->inode == inode && entry->moment == 0)
            slots.push_back(key::Slot(row_key));
          return true;
        }));
    for (auto slot = slots.rbegin(); slot != slots.rend(); ++slot)
      RETURN_IF_ERROR(RemoveEntry(facts.named_in, *slot));
  }
  return Status();
}

// Writes anew what inodes say about their names; the entries are the truth.
Status TreeCheck::FixNames(const std::vector<InodeNumber>& inodes) {
  std::map<InodeNumber, std::vector<LinkName>> names;
  for (const InodeNumber inode : inodes) names[inode];
  if (names.empty()) return Status();
  RETURN_IF_ERROR(
      context_.ScanTable(key::kDirent, [&](std::string_view row_key, std::string_view row) {
        const Result<DirentRecord> entry = DirentRecord::Decode(row);
        if (!entry.ok() || entry->moment != 0) return;
        const auto wanted = names.find(entry->inode);
        if (wanted != names.end()) wanted->second.push_back({key::Id(row_key), entry->name});
      }));
  for (const auto& [inode, found] : names) {
    ASSIGN_OR_RETURN(InodeRecord record, context_.d.tree.Inode(inode));
    const InodeFacts& facts = *inodes_.Find(inode);
    record.links = facts.links_expected();
    Batch batch;
    const key::Range range = key::AllLinks(inode);
    RETURN_IF_ERROR(context_.d.catalog.Scan(range.begin, range.end,
                                            [&](std::string_view row_key, std::string_view) {
                                              batch.Delete(std::string(row_key));
                                              return true;
                                            }));
    if (!facts.directory() && found.size() > 1)
      for (const LinkName& name : found) batch.Put(key::Link(inode, name.parent, name.name), "");
    if (!facts.hint_found && !found.empty()) {
      record.parent = found.front().parent;
      record.name = found.front().name;
    }
    Tree::PutInode(inode, record, &batch);
    RETURN_IF_ERROR(context_.Apply(batch));
  }
  return Status();
}

Status TreeCheck::FixOrphanRow(const InodeFacts& facts) {
  const std::string path = context_.PathOf(facts.inode);
  if (facts.orphan) {
    context_.Found(fmt::format("{} (inode {}) is listed as removed, and is not", path, facts.inode),
                   "it is taken off the list");
  } else {
    context_.Found(fmt::format("inode {} has no name, and is not listed as removed (it was {})",
                               facts.inode, path),
                   "it is listed, so that the next mount removes it");
  }
  if (!context_.repair()) return Status();
  Batch batch;
  facts.orphan ? batch.Delete(key::Orphan(facts.inode)) : batch.Put(key::Orphan(facts.inode), "");
  return context_.Apply(batch);
}

Status TreeCheck::FixSymlinks() {
  for (const InodeFacts& facts : inodes_.all()) {
    if (!S_ISLNK(facts.type) || facts.symlink_row) continue;
    ASSIGN_OR_RETURN(const std::optional<std::string> target,
                     context_.d.catalog.Get(key::Symlink(facts.inode)));
    const std::string path = context_.PathOf(facts.inode);
    context_.Found(fmt::format("symbolic link {} (inode {}) {}", path, facts.inode,
                               target ? "has another length than its target" : "has no target"),
                   target ? "its length is set right" : "it is removed");
    if (!context_.repair()) continue;
    Batch batch;
    if (target) {
      ASSIGN_OR_RETURN(InodeRecord record, context_.d.tree.Inode(facts.inode));
      record.size_bytes = target->size();
      Tree::PutInode(facts.inode, record, &batch);
    } else {
      batch.Delete(key::Inode(facts.inode));  // its names follow in the next round
    }
    RETURN_IF_ERROR(context_.Apply(batch));
  }
  return Status();
}

Status TreeCheck::DropStrayRows() {
  std::vector<Batch::Change> drops;
  for (const std::string& row_key : stray_rows_) {
    const bool link = row_key[0] == key::kSymlink;
    context_.Found(fmt::format("the inode {} of an index row, {}, {}", key::Id(row_key),
                               link ? "a symbolic link's target"
                               : row_key[0] == key::kXattr
                                   ? fmt::format("attribute \"{}\"", key::XattrName(row_key))
                               : row_key[0] == key::kLink ? "one of its names"
                                                          : "its removal",
                               link ? "is no symbolic link" : "is gone"),
                   "the row is dropped");
    drops.push_back({row_key, std::nullopt});
  }
  return context_.repair() ? context_.ApplyAll(drops) : Status();
}

Result<InodeNumber> TreeCheck::LostAndFound() {
  if (lost_and_found_ != 0) return lost_and_found_;
  Tree& tree = context_.d.tree;
  std::string name = kLostAndFound;
  ASSIGN_OR_RETURN(std::optional<NamedEntry> found, tree.Find(kRootNode, name));
  for (int suffix = 1; found && !S_ISDIR(found->record.type); ++suffix) {
    name = fmt::format("{}.{}", kLostAndFound, suffix);
    ASSIGN_OR_RETURN(found, tree.Find(kRootNode, name));
  }
  if (found) return lost_and_found_ = found->record.inode;
  ASSIGN_OR_RETURN(const InodeNumber inode, tree.NewId());
  ASSIGN_OR_RETURN(const uint64_t slot, tree.SlotForNew(kRootNode, name));
  ASSIGN_OR_RETURN(InodeRecord root, tree.Inode(kRootNode));
  InodeRecord record = NewRecord(S_IFDIR | kPrivate, root, kRootNode, name, tree.Now());
  record.history = inode;
  ++root.links;
  root.modify_time = root.change_time = tree.Now();
  Batch batch;
  Tree::PutInode(inode, record, &batch);
  Tree::PutInode(kRootNode, root, &batch);
  Tree::PutName(kRootNode, slot, {inode, S_IFDIR, name}, &batch);
  RETURN_IF_ERROR(context_.Apply(batch));
  return lost_and_found_ = inode;
}

Status TreeCheck::Reconnect(const InodeFacts& facts) {
  context_.Found(fmt::format("{} (inode {}) cannot be reached by any name",
                             context_.PathOf(facts.inode), facts.inode),
                 fmt::format("it becomes /{}/{}", kLostAndFound, facts.inode));
  if (!context_.repair()) return Status();
  Tree& tree = context_.d.tree;
  ASSIGN_OR_RETURN(const InodeNumber directory, LostAndFound());
  const std::string name = std::to_string(facts.inode);
  const Result<uint64_t> slot = tree.SlotForNew(directory, name);
  if (!slot.ok()) return Status();  // a user made that name: the next round finds another
  ASSIGN_OR_RETURN(InodeRecord parent, tree.Inode(directory));
  ASSIGN_OR_RETURN(InodeRecord record, tree.Inode(facts.inode));
  record.parent = directory;
  record.name = name;
  record.links = facts.directory() ? 2 + facts.subdirectories : 1;
  if (facts.directory()) ++parent.links;
  parent.modify_time = parent.change_time = tree.Now();
  Batch batch;
  Tree::PutInode(facts.inode, record, &batch);
  Tree::PutInode(directory, parent, &batch);
  Tree::PutName(directory, *slot, {facts.inode, facts.type, name}, &batch);
  const key::Range range = key::AllLinks(facts.inode);
  RETURN_IF_ERROR(context_.d.catalog.Scan(range.begin, range.end,
                                          [&](std::string_view row_key, std::string_view) {
                                            batch.Delete(std::string(row_key));
                                            return true;
                                          }));
  return context_.Apply(batch);
}

}  // namespace varve
