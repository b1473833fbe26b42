// What the tree was at a capture: against full copies that a model keeps.
#include "fs/core/past_tree.h"

#include <gtest/gtest.h>

#include <iterator>
#include <map>
#include <memory>

#include "tests/support/map_catalog.h"
#include "tests/support/seed.h"

namespace varve {
namespace {

// Everything below the root, by path.
using Copy = std::map<std::string, std::string>;

class PastTreeTest : public ::testing::Test {
 protected:
  void SetUp() override { Reopen(); }

  void Reopen() {
    tree_ = std::make_unique<Tree>(catalog_, fingerprinter_, clock_);
    ASSERT_TRUE(tree_->Open(0, 0).ok());
  }

  Moment Capture() {
    const Moment moment = tree_->now();
    EXPECT_TRUE(tree_->EndMoment(Batch(), {}).ok());
    return moment;
  }

  InodeNumber Make(InodeNumber parent, const std::string& name, mode_t mode) {
    const InodeNumber inode = *tree_->NewId();
    InodeRecord record;
    record.mode = mode;
    record.links = 1;
    record.parent = parent;
    record.name = name;
    Batch batch;
    Tree::PutInode(inode, record, &batch);
    Tree::PutName(parent, *tree_->SlotForNew(parent, name), {inode, mode & S_IFMT, name}, &batch);
    if (S_ISLNK(mode)) batch.Put(key::Symlink(inode), "to " + name);
    EXPECT_TRUE(tree_->Apply(batch).ok());
    return inode;
  }

  void Remove(InodeNumber parent, const NamedEntry& entry) {
    Batch batch;
    EXPECT_TRUE(tree_->RemoveName(parent, entry.slot, &batch).ok());
    const InodeNumber inode = entry.record.inode;
    batch.Delete(key::Inode(inode));
    batch.Delete(key::Symlink(inode));
    const key::Range range = key::AllXattrs(inode);
    EXPECT_TRUE(catalog_
                    .Scan(range.begin, range.end,
                          [&](std::string_view key, std::string_view) {
                            batch.Delete(std::string(key));
                            return true;
                          })
                    .ok());
    EXPECT_TRUE(tree_->Apply(batch).ok());
  }

  static std::string Describe(InodeNumber inode, const InodeRecord& record) {
    return std::to_string(inode) + " " + std::to_string(record.mode) + " " +
           std::to_string(record.content) + " " + record.name;
  }

  void CopyLive(InodeNumber directory, const std::string& path, Copy* copy) {
    for (const NamedEntry& entry : *tree_->List(directory, 0, 1000)) {
      const InodeNumber inode = entry.record.inode;
      const std::string child = path + "/" + entry.record.name;
      std::string& text = (*copy)[child];
      text = Describe(inode, *tree_->Inode(inode));
      const key::Range range = key::AllXattrs(inode);
      EXPECT_TRUE(catalog_
                      .Scan(range.begin, range.end,
                            [&](std::string_view key, std::string_view value) {
                              text +=
                                  " " + std::string(key::XattrName(key)) + "=" + std::string(value);
                              return true;
                            })
                      .ok());
      if (const auto target = *catalog_.Get(key::Symlink(inode))) text += " -> " + *target;
      if (S_ISDIR(entry.record.type)) CopyLive(inode, child, copy);
    }
  }

  void CopyPast(const PastTree& past, InodeNumber directory, const std::string& path, size_t limit,
                Copy* copy) {
    uint64_t after = 0;
    while (true) {
      const std::vector<NamedEntry> entries = *past.List(directory, after, limit);
      if (entries.empty()) return;
      for (const NamedEntry& entry : entries) {
        ASSERT_GT(entry.slot, after);
        after = entry.slot;
        const InodeNumber inode = entry.record.inode;
        const std::string child = path + "/" + entry.record.name;
        ASSERT_FALSE(copy->contains(child));
        const auto found = past.Find(directory, entry.record.name);
        ASSERT_TRUE(found.ok() && *found && (*found)->record.inode == inode) << child;
        std::string& text = (*copy)[child];
        const Result<InodeRecord> record = past.Inode(inode);
        ASSERT_TRUE(record.ok()) << child;
        text = Describe(inode, *record);
        for (const std::string& name : *past.XattrNames(inode))
          text += " " + name + "=" + **past.Xattr(inode, name);
        if (S_ISLNK(entry.record.type)) text += " -> " + *past.SymlinkTarget(inode);
        if (S_ISDIR(entry.record.type)) CopyPast(past, inode, child, limit, copy);
      }
    }
  }

  size_t SavedRowCount() {
    size_t count = 0;
    const key::Range range = key::Table(key::kSaved);
    EXPECT_TRUE(catalog_
                    .Scan(range.begin, range.end,
                          [&](std::string_view, std::string_view) { return ++count > 0; })
                    .ok());
    return count;
  }

  testing::MapCatalog catalog_;
  const Fingerprinter fingerprinter_{std::string(Fingerprinter::kSecretBytes, 's')};
  SystemClock clock_;
  std::unique_ptr<Tree> tree_;
};

TEST_F(PastTreeTest, NothingIsSavedWithoutACapture) {
  const InodeNumber file = Make(kRootNode, "a", S_IFREG | 0644);
  InodeRecord record = *tree_->Inode(file);
  record.content = 7;
  Batch batch;
  Tree::PutInode(file, record, &batch);
  ASSERT_TRUE(tree_->Apply(batch).ok());
  EXPECT_EQ(SavedRowCount(), 0u);
}

TEST_F(PastTreeTest, ARowIsSavedOncePerCaptureAndNewInodesNever) {
  const InodeNumber file = Make(kRootNode, "a", S_IFREG | 0644);
  const Moment first = Capture();
  for (ContentId content = 1; content <= 5; ++content) {
    InodeRecord record = *tree_->Inode(file);
    record.content = content;
    Batch batch;
    Tree::PutInode(file, record, &batch);
    ASSERT_TRUE(tree_->Apply(batch).ok());
    if (content == 3) Reopen();  // what was saved is known from the catalog then
  }
  EXPECT_EQ(SavedRowCount(), 1u);
  EXPECT_EQ(PastTree(*tree_, first).Inode(file)->content, 0u);
  // That the name was not there is saved; what is below the new directory is not.
  const InodeNumber directory = Make(kRootNode, "new", S_IFDIR | 0755);
  for (const char* name : {"x", "y", "z"}) Make(directory, name, S_IFREG | 0644);
  EXPECT_EQ(SavedRowCount(), 2u);
  EXPECT_FALSE(PastTree(*tree_, first).Find(kRootNode, "new")->has_value());
}

TEST_F(PastTreeTest, ACaptureShowsWhatItIsTold) {
  const InodeNumber file = Make(kRootNode, "open", S_IFREG | 0644);
  InodeRecord shown = *tree_->Inode(file);
  shown.content = 99;
  const Moment moment = tree_->now();
  ASSERT_TRUE(tree_->EndMoment(Batch(), {{key::Inode(file), shown.Encode()}}).ok());
  EXPECT_EQ(PastTree(*tree_, moment).Inode(file)->content, 99u);
  EXPECT_EQ(tree_->Inode(file)->content, 0u);
  // The next capture sees the file as it is.
  const Moment next = Capture();
  EXPECT_EQ(PastTree(*tree_, next).Inode(file)->content, 0u);
  EXPECT_EQ(PastTree(*tree_, moment).Inode(file)->content, 99u);
}

TEST_F(PastTreeTest, WhatACaptureIsToldIsNotWhatEarlierOnesShow) {
  const InodeNumber file = Make(kRootNode, "open", S_IFREG | 0644);
  const Moment first = Capture();
  InodeRecord shown = *tree_->Inode(file);
  shown.content = 99;
  const Moment second = tree_->now();
  ASSERT_TRUE(tree_->EndMoment(Batch(), {{key::Inode(file), shown.Encode()}}).ok());
  EXPECT_EQ(PastTree(*tree_, first).Inode(file)->content, 0u);
  EXPECT_EQ(PastTree(*tree_, second).Inode(file)->content, 99u);
}

TEST_F(PastTreeTest, ANameThatChangesOftenIsSkippedOver) {
  std::vector<Moment> moments;
  for (int i = 0; i < 300; ++i) {
    moments.push_back(Capture());
    if (const auto entry = *tree_->Find(kRootNode, "a")) {
      Remove(kRootNode, *entry);
    } else {
      Make(kRootNode, "a", S_IFREG | 0644);
    }
  }
  for (size_t i = 0; i < moments.size(); ++i) {
    const PastTree past(*tree_, moments[i]);
    EXPECT_EQ(past.List(kRootNode, 0, 10)->size(), i % 2);
    EXPECT_EQ(past.Find(kRootNode, "a")->has_value(), i % 2 == 1);
  }
}

// Random changes, captures and restarts; every copy that the model took must be what
// the captured moment shows, then and at the end.
TEST_F(PastTreeTest, EqualsFullCopies) {
  testing::Random random(testing::TestSeed());
  const uint64_t steps = testing::TestRounds(4000);
  std::map<Moment, Copy> copies;
  const auto check = [&](Moment moment) {
    Copy past;
    CopyPast(PastTree(*tree_, moment), kRootNode, "", random.Between(1, 40), &past);
    ASSERT_EQ(past, copies[moment]) << "at moment " << moment;
  };
  for (uint64_t step = 0; step < steps; ++step) {
    // A random directory, never deep.
    InodeNumber directory = kRootNode;
    std::vector<NamedEntry> entries = *tree_->List(directory, 0, 1000);
    for (int depth = 0; depth < 3 && !entries.empty() && random.Chance(2, 3); ++depth) {
      const NamedEntry& entry = entries[random.Below(entries.size())];
      if (!S_ISDIR(entry.record.type)) break;
      directory = entry.record.inode;
      entries = *tree_->List(directory, 0, 1000);
    }
    const std::string name(1, static_cast<char>('a' + random.Below(12)));
    const std::optional<NamedEntry> entry = *tree_->Find(directory, name);
    switch (random.Below(12)) {
      case 0: {
        const Moment moment = Capture();
        CopyLive(kRootNode, "", &copies[moment]);
        check(moment);
        break;
      }
      case 1:
        if (random.Chance(1, 4)) Reopen();
        if (!copies.empty())
          check(std::next(copies.begin(), static_cast<ptrdiff_t>(random.Below(copies.size())))
                    ->first);
        break;
      case 2:
      case 3:
      case 4:
        if (!entry) {
          constexpr mode_t kModes[] = {S_IFREG | 0644, S_IFDIR | 0755, S_IFLNK | 0777};
          Make(directory, name, kModes[random.Below(3)]);
        }
        break;
      case 5:
        if (entry && *tree_->IsEmpty(entry->record.inode)) Remove(directory, *entry);
        break;
      case 6:
        if (entry) {
          Batch batch;
          const std::string xattr =
              key::Xattr(entry->record.inode, random.Chance(1, 2) ? "user.a" : "user.a\x01");
          random.Chance(1, 3) ? batch.Delete(xattr) : batch.Put(xattr, random.Bytes(3));
          ASSERT_TRUE(tree_->Apply(batch).ok());
        }
        break;
      case 7: {
        // A rename within the directory, over what is there.
        const std::string to(1, static_cast<char>('a' + random.Below(12)));
        if (!entry || to == name) break;
        if (const auto old = *tree_->Find(directory, to)) {
          if (!*tree_->IsEmpty(old->record.inode)) break;
          Remove(directory, *old);
        }
        Batch batch;
        ASSERT_TRUE(tree_->RemoveName(directory, entry->slot, &batch).ok());
        Tree::PutName(directory, *tree_->SlotForNew(directory, to),
                      {entry->record.inode, entry->record.type, to}, &batch);
        InodeRecord record = *tree_->Inode(entry->record.inode);
        record.name = to;
        Tree::PutInode(entry->record.inode, record, &batch);
        ASSERT_TRUE(tree_->Apply(batch).ok());
        break;
      }
      default:
        if (entry) {
          InodeRecord record = *tree_->Inode(entry->record.inode);
          record.content = step;
          Batch batch;
          Tree::PutInode(entry->record.inode, record, &batch);
          ASSERT_TRUE(tree_->Apply(batch).ok());
        }
    }
    if (HasFatalFailure()) return;
  }
  ASSERT_GT(copies.size(), steps / 20);
  for (const auto& [moment, copy] : copies) {
    check(moment);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace varve
