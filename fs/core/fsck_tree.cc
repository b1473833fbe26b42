// Gathering: one pass over each table, into the inodes' facts and lists of faults.

#include "fs/core/fsck_tree.h"

#include <fmt/format.h>

#include <algorithm>

#include "fs/core/past_tree.h"

namespace varve {

Status TreeCheck::Run() {
  context_.Progress("checking names", 0, 0);
  RETURN_IF_ERROR(CheckRoot());
  RETURN_IF_ERROR(inodes_.Load(context_));
  RETURN_IF_ERROR(ScanClones());
  RETURN_IF_ERROR(ScanEntries());
  RETURN_IF_ERROR(ScanOrphans());
  RETURN_IF_ERROR(ScanLinks());
  RETURN_IF_ERROR(ScanSymlinks());
  RETURN_IF_ERROR(ScanXattrs());
  Walk();
  RETURN_IF_ERROR(CountInClones());
  // What changes which names there are comes first; counts follow in the next round.
  const uint64_t before = context_.found();
  RETURN_IF_ERROR(FixMissingDirectories());
  RETURN_IF_ERROR(FixEntries());
  RETURN_IF_ERROR(BreakLoops());
  if (context_.repair() && context_.found() != before) return Status();
  RETURN_IF_ERROR(JudgeInodes());
  RETURN_IF_ERROR(FixSymlinks());
  return DropStrayRows();
}

Status TreeCheck::ScanEntries() {
  Scan scan;
  FsckReport& report = context_.report();
  report.names = 0;
  return context_.ScanTable(key::kDirent, [&](std::string_view row_key, std::string_view row) {
    const Result<DirentRecord> entry = DirentRecord::Decode(row);
    if (!entry.ok()) return;
    ++report.names;
    const InodeNumber parent = key::Id(row_key);
    if (parent != scan.parent) {
      scan = Scan();
      scan.parent = parent;
      scan.directory = inodes_.Find(parent);
      if (scan.directory == nullptr) missing_directories_.push_back(parent);
    }
    SeeEntry(&scan, key::Slot(row_key), *entry);
  });
}

Status TreeCheck::ScanClones() {
  clones_.clear();
  return context_.ScanTable(key::kClone, [&](std::string_view row_key, std::string_view row) {
    const Result<CloneRecord> clone = CloneRecord::Decode(row);
    if (!clone.ok()) return;
    InodeFacts* facts = inodes_.Find(key::Id(row_key));
    if (facts == nullptr || !facts->directory()) {
      stray_rows_.emplace_back(row_key);
    } else {
      facts->clone = true;
      clones_.emplace_back(facts->inode, *clone);
    }
  });
}

Status TreeCheck::CountInClones() {
  constexpr size_t kAtOnce = 1024;
  Tree& tree = context_.d.tree;
  RETURN_IF_ERROR(tree.LoadMoment());
  for (const auto& [inode, clone] : clones_) {
    const PastTree past(tree, clone.original.moment);
    const Result<InodeRecord> original = past.Inode(clone.original.inode);
    if (clone.original.moment >= tree.now() || !original.ok() || !S_ISDIR(original->mode)) {
      RETURN_IF_ERROR(LoseOriginal(inode));
      continue;
    }
    InodeFacts& facts = *inodes_.Find(inode);
    facts.subdirectories = 0;
    for (uint64_t after_slot = 0;;) {
      const Result<std::vector<NamedEntry>> entries =
          PastTree(tree, PastTree::kPresent).List(inode, after_slot, kAtOnce);
      if (!entries.ok() || entries->empty()) break;  // damaged rows are found as such
      after_slot = entries->back().slot;
      for (const NamedEntry& entry : *entries)
        if (S_ISDIR(entry.record.type)) ++facts.subdirectories;
    }
  }
  return Status();
}

void TreeCheck::SeeEntry(Scan* scan, uint64_t slot, const DirentRecord& entry) {
  const bool next = slot == scan->slot + 1 && slot % Tree::kProbes != 0;
  if (!next) {
    scan->run_begin = slot;
    scan->names.clear();
  }
  scan->slot = slot;
  const bool in_clone = scan->directory != nullptr && scan->directory->clone;
  if (entry.gone()) {
    scan->names.push_back(entry.name);
    if (!in_clone) bad_entries_.push_back({Fault::kBadName, scan->parent, slot});
    return;
  }
  Fault fault = Fault::kNone;
  InodeFacts* child = nullptr;
  const bool kept = EntryIsKept(*scan, slot, entry, &fault, &child);
  scan->names.push_back(entry.name);
  if (!kept || fault != Fault::kNone) bad_entries_.push_back({fault, scan->parent, slot});
  if (!kept || child == nullptr) return;
  const uint64_t hash = HashOfName(context_.d.fingerprinter, scan->parent, entry.name);
  ++child->names;
  child->names_sum += hash;
  if (hash == child->hint) child->hint_found = true;
  if (!child->directory()) return;
  child->named_in = scan->parent;
  if (scan->directory != nullptr) ++scan->directory->subdirectories;
}

bool TreeCheck::EntryIsKept(const Scan& scan, uint64_t slot, const DirentRecord& entry,
                            Fault* fault, InodeFacts** child) {
  const auto is = [fault](Fault found, bool kept) {
    *fault = found;
    return kept;
  };
  if (entry.name == "." || entry.name == ".." || entry.name == ".varve" ||
      entry.name.size() > kNameBytesMax || entry.name.find('/') != std::string::npos ||
      entry.name.find('\0') != std::string::npos)
    return is(Fault::kBadName, false);
  if (scan.directory != nullptr && !scan.directory->directory())
    return is(Fault::kNotInDirectory, false);
  if (std::find(scan.names.begin(), scan.names.end(), entry.name) != scan.names.end())
    return is(Fault::kTwice, false);
  const bool in_clone = scan.directory != nullptr && scan.directory->clone;
  if (entry.moment != 0) return in_clone || is(Fault::kNoInode, false);
  *child = inodes_.Find(entry.inode);
  if (*child == nullptr) return is(Fault::kNoInode, false);
  if (entry.inode == kRootNode || ((*child)->directory() && (*child)->names > 0))
    return is(Fault::kSecondName, false);
  const uint64_t first = context_.d.tree.FirstSlot(entry.name);
  // In a clone, what lies behind may fill the gaps.
  const bool gap = scan.run_begin > first && !in_clone;
  if (slot < first || slot >= first + Tree::kProbes || gap) return is(Fault::kWrongSlot, true);
  if (entry.type != (*child)->type) return is(Fault::kWrongType, true);
  return true;
}

Status TreeCheck::ScanOrphans() {
  return context_.ScanTable(key::kOrphan, [&](std::string_view row_key, std::string_view) {
    if (InodeFacts* facts = inodes_.Find(key::Id(row_key)); facts != nullptr) {
      facts->orphan = true;
    } else {
      stray_rows_.emplace_back(row_key);
    }
  });
}

Status TreeCheck::ScanLinks() {
  return context_.ScanTable(key::kLink, [&](std::string_view row_key, std::string_view) {
    if (InodeFacts* facts = inodes_.Find(key::Id(row_key)); facts != nullptr) {
      ++facts->link_rows;
      facts->links_sum +=
          HashOfName(context_.d.fingerprinter, key::LinkParent(row_key), key::LinkName(row_key));
    } else {
      stray_rows_.emplace_back(row_key);
    }
  });
}

Status TreeCheck::ScanSymlinks() {
  return context_.ScanTable(key::kSymlink, [&](std::string_view row_key, std::string_view row) {
    InodeFacts* facts = inodes_.Find(key::Id(row_key));
    if (facts == nullptr || !S_ISLNK(facts->type)) {
      stray_rows_.emplace_back(row_key);
    } else {
      facts->symlink_row = facts->size_bytes == row.size();
    }
  });
}

Status TreeCheck::ScanXattrs() {
  return context_.ScanTable(key::kXattr, [&](std::string_view row_key, std::string_view) {
    if (inodes_.Find(key::Id(row_key)) == nullptr) stray_rows_.emplace_back(row_key);
  });
}

// Marks what hangs on the root, and finds one directory of each ring.
void TreeCheck::Walk() {
  if (InodeFacts* root = inodes_.Find(kRootNode); root != nullptr)
    root->walk = InodeFacts::Walk::kReached;
  for (InodeFacts& facts : inodes_.all())
    if (facts.directory()) WalkUp(&facts);
}

void TreeCheck::WalkUp(InodeFacts* directory) {
  using enum InodeFacts::Walk;
  std::vector<InodeFacts*> path;
  InodeFacts* at = directory;
  while (at != nullptr && at->walk == kNew) {
    at->walk = kOnPath;
    path.push_back(at);
    at = at->names > 0 ? inodes_.Find(at->named_in) : nullptr;
  }
  if (at != nullptr && at->walk == kOnPath) loops_.push_back(at->inode);
  const auto outcome = at != nullptr && at->walk == kReached ? kReached : kDetached;
  for (InodeFacts* passed : path) passed->walk = outcome;
}

std::string TreeCheck::WhyNamesDiffer(const InodeFacts& facts) const {
  if (facts.links != facts.links_expected())
    return fmt::format("says that it has {} links, and has {}", facts.links,
                       facts.links_expected());
  if (facts.inode == kRootNode || facts.names == 0) return "";
  if (!facts.hint_found) return "does not know where it is";
  const bool listed = !facts.directory() && facts.names > 1;
  if (listed && (facts.link_rows != facts.names || facts.links_sum != facts.names_sum))
    return "has a list of its names that is not that of the directories";
  if (!listed && facts.link_rows > 0) return "has a list of several names, and one name";
  return "";
}

Status TreeCheck::JudgeInodes() {
  std::vector<InodeNumber> differ;
  FsckReport& report = context_.report();
  report.inodes = inodes_.all().size();
  report.directories = 0;
  uint64_t open = 0;
  for (const InodeFacts& facts : inodes_.all()) {
    if (facts.directory()) ++report.directories;
    const bool named = facts.names > 0 || facts.inode == kRootNode;
    if (!named && facts.orphan && facts.links == 0) {
      ++open;
      continue;
    }
    if (facts.orphan != (!named && facts.links == 0)) RETURN_IF_ERROR(FixOrphanRow(facts));
    if (!named && facts.links > 0) {
      RETURN_IF_ERROR(Reconnect(facts));
    } else if (const std::string why = WhyNamesDiffer(facts); named && !why.empty()) {
      context_.Found(
          fmt::format("{} (inode {}) {}", context_.PathOf(facts.inode), facts.inode, why),
          "links, names and directory are counted anew");
      differ.push_back(facts.inode);
    }
  }
  if (open > 0)
    context_.Note(fmt::format(
        "{} removed files were still open; the next mount finishes their removal", open));
  return context_.repair() ? FixNames(differ) : Status();
}

}  // namespace varve
