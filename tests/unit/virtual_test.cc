// The nodes below `.varve`, over a catalog in memory and a tree that is made by hand.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>

#include "fs/core/access.h"
#include "fs/core/virtual_control.h"
#include "fs/core/virtual_nodes.h"
#include "tests/support/map_catalog.h"

namespace varve {
namespace {

constexpr InodeNumber kDirectory = 20;
constexpr HistoryId kHistory = 21;
constexpr uid_t kAlice = 1000;
constexpr uid_t kBob = 1001;
constexpr gid_t kTeam = 500;

class StringReader final : public ContentReader {
 public:
  explicit StringReader(std::string text) : text_(std::move(text)) {}
  Result<ReadReply> Read(uint64_t offset, size_t size) override {
    return ReadReply::Of(offset < text_.size() ? text_.substr(offset, size) : "");
  }
  uint64_t size_bytes() const override { return text_.size(); }
  Result<uint64_t> Seek(uint64_t offset, int) override { return offset; }

 private:
  const std::string text_;
};

Caller As(uid_t uid, const std::vector<gid_t>& groups = {}) {
  Caller caller;
  caller.uid = uid;
  caller.gid = uid;
  caller.groups = [groups] { return groups; };
  return caller;
}

class VirtualTest : public ::testing::Test, protected LiveLookup, protected VersionReader {
 protected:
  void SetUp() override { AddDirectory(kRootNode, kDirectory, "run1"); }

  // The live tree.
  Result<InodeRecord> Inode(InodeNumber inode) override {
    const auto found = inodes_.find(inode);
    if (found == inodes_.end()) return Status::Errno(ESTALE);
    return found->second;
  }
  Result<InodeNumber> Child(InodeNumber directory, std::string_view name) override {
    const auto found = names_.find({directory, std::string(name)});
    if (found == names_.end()) return Status(Code::kNotFound);
    return found->second;
  }
  Result<std::vector<NamedEntry>> Names(InodeNumber directory, uint64_t after_slot,
                                        size_t limit) override {
    std::vector<NamedEntry> names;
    for (const auto& [name, inode] : names_) {
      if (name.first != directory || inode <= after_slot) continue;
      names.push_back({inode, {inode, inodes_[inode].mode & S_IFMT, name.second}});
    }
    std::sort(names.begin(), names.end(),
              [](const NamedEntry& a, const NamedEntry& b) { return a.slot < b.slot; });
    names.resize(std::min(limit, names.size()));
    return names;
  }
  Status LookUpAll(InodeNumber) override { return Status(); }
  Result<std::shared_ptr<ContentReader>> OpenContent(ContentId content, uint64_t size_bytes,
                                                     std::string path) override {
    opened_path_ = std::move(path);
    const auto found = contents_.find(content);
    if (found == contents_.end()) return Status(Code::kNotFound);
    return std::shared_ptr<ContentReader>(
        std::make_shared<StringReader>(found->second.substr(0, size_bytes)));
  }

  void AddDirectory(InodeNumber parent, InodeNumber inode, const std::string& name,
                    time_t time = 5) {
    InodeRecord record;
    record.mode = S_IFDIR | 0755;
    record.uid = kAlice;
    record.gid = kTeam;
    record.history = inode + 1;
    record.parent = parent;
    record.name = name;
    record.modify_time.tv_sec = time;
    AddInode(parent, name, inode, record);
  }
  void AddFile(InodeNumber parent, const std::string& name, InodeNumber inode, ContentId content,
               time_t time = 5, mode_t mode = 0644) {
    InodeRecord record;
    record.mode = S_IFREG | mode;
    record.uid = kAlice;
    record.gid = kTeam;
    record.content = content;
    record.modify_time.tv_sec = time;
    AddInode(parent, name, inode, record);
  }
  void AddInode(InodeNumber parent, const std::string& name, InodeNumber inode,
                const InodeRecord& record) {
    inodes_[inode] = record;
    names_[{parent, name}] = inode;
    DirentRecord dirent;
    dirent.inode = inode;
    dirent.type = record.mode & S_IFMT;
    dirent.name = name;
    Put(key::Dirent(parent, inode), dirent.Encode());
  }
  void RemoveName(InodeNumber parent, const std::string& name) { names_.erase({parent, name}); }
  void AddContent(ContentId content, ContentRecord record, std::string bytes = "bytes") {
    record.size_bytes = bytes.size();
    contents_[content] = std::move(bytes);
    Put(key::Content(content), record.Encode());
  }
  ContentRecord Whole(ContentFormat format = ContentFormat::kSafetensors) {
    ContentRecord record;
    record.captured = record.stored = record.durable = record.complete = true;
    record.format = format;
    return record;
  }
  void AddVersion(const std::string& name, VersionNumber number, ContentId content,
                  mode_t mode = 0644) {
    VersionRecord version;
    version.content = content;
    version.size_bytes = contents_[content].size();
    version.capture_time.tv_sec = 100 + number;
    version.modify_time = {77, 5};
    version.mode = S_IFREG | mode;
    version.uid = kAlice;
    version.gid = kTeam;
    Put(key::Version(kHistory, name, number), version.Encode());
    NameRecord counters;
    counters.last_version = number;
    Put(key::Name(kHistory, name), counters.Encode());
  }
  void Put(std::string key, std::string value) {
    Batch batch;
    batch.Put(std::move(key), std::move(value));
    ASSERT_TRUE(catalog_.Apply(batch).ok());
  }

  // Walks "versions/a/0001" below the `.varve` of kDirectory.
  Result<Entry> Walk(const std::string& path, const Caller& caller = As(0)) {
    ASSIGN_OR_RETURN(Entry entry, nodes_.EnterDirectory(caller, kDirectory));
    for (size_t begin = 0; begin < path.size();) {
      const size_t end = std::min(path.find('/', begin), path.size());
      ASSIGN_OR_RETURN(const Entry next,
                       nodes_.Lookup(caller, entry.node, path.substr(begin, end - begin)));
      nodes_.Forget(entry.node, 1);
      entry = next;
      begin = end + 1;
    }
    return entry;
  }
  int Error(const Status& status) { return status.os_errno(); }
  Result<std::string> Read(const std::string& path, const Caller& caller = As(0)) {
    ASSIGN_OR_RETURN(const Entry entry, Walk(path, caller));
    ASSIGN_OR_RETURN(const Opened opened, nodes_.Open(caller, entry.node, O_RDONLY));
    ASSIGN_OR_RETURN(const ReadReply reply, nodes_.Read(entry.node, opened.handle, 0, 1 << 20));
    std::string text;
    for (const ByteView part : reply.parts) text += AsText(part);
    nodes_.Release(entry.node, opened.handle);
    nodes_.Forget(entry.node, 1);
    return text;
  }
  std::vector<std::string> List(const std::string& path, bool plus, size_t at_once = 1000) {
    std::vector<std::string> names;
    const Result<Entry> entry = Walk(path);
    EXPECT_TRUE(entry.ok());
    const Result<Opened> opened = nodes_.OpenDirectory(As(0), entry->node);
    EXPECT_TRUE(opened.ok());
    uint64_t cookie = 0;
    for (size_t before = 1; before != names.size();) {
      before = names.size();
      size_t left = at_once;
      EXPECT_TRUE(nodes_
                      .ReadDirectory(As(0), entry->node, opened->handle, cookie, plus,
                                     [&](const ListedName& name) {
                                       if (left-- == 0) return false;
                                       names.emplace_back(name.name);
                                       cookie = name.next_cookie;
                                       if (name.entry != nullptr) {
                                         EXPECT_EQ(name.entry->node, name.node);
                                         nodes_.Forget(name.node, 1);
                                       }
                                       return true;
                                     })
                      .ok());
    }
    nodes_.ReleaseDirectory(entry->node, opened->handle);
    nodes_.Forget(entry->node, 1);
    return names;
  }
  Result<std::string> Latest() {
    ASSIGN_OR_RETURN(const Entry entry, Walk("latest"));
    Result<std::string> target = nodes_.ReadLink(entry.node);
    nodes_.Forget(entry.node, 1);
    return target;
  }

  testing::MapCatalog catalog_;
  std::map<InodeNumber, InodeRecord> inodes_;
  std::map<std::pair<InodeNumber, std::string>, InodeNumber> names_;
  std::map<ContentId, std::string> contents_;
  std::string opened_path_;
  VirtualNodes nodes_{{catalog_, *this, *this, [] { return std::string("{\"a\": 1}"); },
                       [] { return Result<struct statvfs>(Status::Errno(ENOSYS)); }}};
};

using Listing = std::vector<std::string>;

TEST_F(VirtualTest, TheControlDirectoryLooksLikeItsOwner) {
  inodes_[kDirectory].mode = S_IFDIR | 0730;
  const Result<Entry> entry = Walk("");
  ASSERT_TRUE(entry.ok());
  EXPECT_EQ(entry->attributes.stat.st_mode, mode_t{S_IFDIR | 0510});
  EXPECT_EQ(entry->attributes.stat.st_uid, kAlice);
  EXPECT_EQ(KindOf(entry->node), NodeKind::kVirtual);
  EXPECT_EQ(entry->attributes.stat.st_ino, entry->node);
}

TEST_F(VirtualTest, ListsWhatIsThere) {
  EXPECT_EQ(List("", false), (Listing{".", "..", "history", "status", "versions"}));
  AddContent(50, Whole());
  AddVersion("model.pt", 1, 50);
  AddVersion("model.pt", 2, 50);
  AddFile(kDirectory, "model.pt", 30, 50);
  EXPECT_EQ(List("", false), (Listing{".", "..", "history", "latest", "status", "versions"}));
  EXPECT_EQ(List("versions", true), (Listing{".", "..", "model.pt"}));
  EXPECT_EQ(List("versions/model.pt", true), (Listing{".", "..", "0001", "0002", "latest"}));
  EXPECT_EQ(List("versions/model.pt", true, 1), (Listing{".", "..", "0001", "0002", "latest"}));
  EXPECT_EQ(nodes_.known(), 0u) << "a lookup was counted that the listing did not hand out";
}

TEST_F(VirtualTest, AVersionIsAFileOfItsTimeOfCapture) {
  AddContent(50, Whole(), "first");
  AddContent(51, Whole(), "second one");
  AddVersion("model.pt", 1, 50, 0640);
  AddVersion("model.pt", 2, 51);
  const Result<Entry> entry = Walk("versions/model.pt/0001");
  ASSERT_TRUE(entry.ok());
  const struct stat& stat = entry->attributes.stat;
  EXPECT_EQ(stat.st_mode, mode_t{S_IFREG | 0440});
  EXPECT_EQ(stat.st_size, 5);
  EXPECT_EQ(stat.st_mtim.tv_sec, 101);
  EXPECT_EQ(stat.st_uid, kAlice);
  EXPECT_GT(entry->attributes.valid_ns, 0);
  EXPECT_EQ(*Read("versions/model.pt/0001"), "first");
  EXPECT_EQ(opened_path_, "/run1/.varve/versions/model.pt/0001");
  EXPECT_EQ(*Read("versions/model.pt/0002"), "second one");
  const Result<Entry> latest = Walk("versions/model.pt/latest");
  EXPECT_EQ(*nodes_.ReadLink(latest->node), "0002");
  EXPECT_EQ(latest->attributes.stat.st_size, 4);
}

TEST_F(VirtualTest, WhatIsNotThereIsNotFound) {
  AddContent(50, Whole());
  AddVersion("model.pt", 1, 50);
  for (const char* path : {"nothing", "versions/other", "versions/model.pt/0002",
                           "versions/model.pt/1", "versions/model.pt/0001x", ".varve", "latest"}) {
    EXPECT_EQ(Error(Walk(path).status()), ENOENT) << path;
  }
  EXPECT_EQ(Error(Walk("versions/model.pt/0001/x").status()), ENOTDIR);
  inodes_.erase(kDirectory);
  EXPECT_EQ(Error(Walk("").status()), ENOENT);
}

TEST_F(VirtualTest, AVersionThatIsNotStoredYetIsAskedForEachTime) {
  ContentRecord pending;
  pending.captured = true;
  AddContent(50, pending, "log line 1\n");
  AddVersion("log", 1, 50);
  const Result<Entry> entry = Walk("versions/log/0001");
  EXPECT_EQ(entry->attributes.valid_ns, 0);
  EXPECT_FALSE(nodes_.Open(As(0), entry->node, O_RDONLY)->keep_cache);
  AddContent(50, pending, "log line 1\nlog line 2\n");
  AddVersion("log", 1, 50);
  EXPECT_EQ(nodes_.GetAttributes(entry->node, {})->stat.st_size, 22);
  AddContent(50, Whole(ContentFormat::kPlain), contents_[50]);
  EXPECT_FALSE(nodes_.Open(As(0), entry->node, O_RDONLY)->keep_cache)
      << "pages of before it was stored must go";
  EXPECT_TRUE(nodes_.Open(As(0), entry->node, O_RDONLY)->keep_cache);
}

TEST_F(VirtualTest, ANumberThatIsGivenAgainIsAnotherInode) {
  AddContent(50, Whole(), "one");
  AddContent(51, Whole(), "two");
  AddVersion("a.tmp", 1, 50);
  const Result<Entry> first = Walk("versions/a.tmp/0001");
  AddVersion("a.tmp", 1, 51);
  const Result<Entry> second = Walk("versions/a.tmp/0001");
  EXPECT_NE(first->node, second->node);
  EXPECT_EQ(Error(nodes_.Open(As(0), first->node, O_RDONLY).status()), ESTALE);
  EXPECT_EQ(*Read("versions/a.tmp/0001"), "two");
}

TEST_F(VirtualTest, AnEmptyVersionReadsAsNothing) {
  AddVersion("empty", 1, 0);
  EXPECT_EQ(*Read("versions/empty/0001"), "");
}

TEST_F(VirtualTest, NothingCanBeChanged) {
  AddContent(50, Whole());
  AddVersion("a", 1, 50);
  const Result<Entry> directory = Walk("versions/a");
  const Result<Entry> file = Walk("versions/a/0001");
  for (const int flags : {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC}) {
    EXPECT_EQ(Error(nodes_.Open(As(0), file->node, flags).status()), EROFS);
  }
  EXPECT_EQ(Error(nodes_.RemoveFile(As(0), directory->node, "0001")), EROFS);
  EXPECT_EQ(Error(nodes_.Create(As(0), directory->node, "x", 0644, 0).status()), EROFS);
  EXPECT_EQ(Error(nodes_.MakeDirectory(As(0), directory->node, "x", 0755).status()), EROFS);
  EXPECT_EQ(Error(nodes_.SetAttributes(As(0), file->node, {}, {}).status()), EROFS);
  EXPECT_EQ(Error(nodes_.SetXattr(As(0), file->node, "user.a", {}, 0)), EROFS);
}

TEST_F(VirtualTest, ModeThenAndModeNowBothDecide) {
  AddContent(50, Whole());
  AddVersion("a", 1, 50, 0644);
  AddVersion("a", 2, 50, 0600);
  AddFile(kDirectory, "a", 30, 50, 5, 0644);
  EXPECT_TRUE(Read("versions/a/0001", As(kBob)).ok());
  EXPECT_EQ(Error(Read("versions/a/0002", As(kBob)).status()), EACCES) << "closed then";
  EXPECT_TRUE(Read("versions/a/0002", As(kAlice)).ok());
  inodes_[30].mode = S_IFREG | 0600;
  EXPECT_EQ(Error(Read("versions/a/0001", As(kBob)).status()), EACCES) << "closed now";
  inodes_[30].mode = S_IFREG | 0000;
  EXPECT_EQ(Error(Read("versions/a/0001", As(kAlice)).status()), EACCES);
  EXPECT_TRUE(Read("versions/a/0001", As(0)).ok());
}

TEST_F(VirtualTest, WhatWasRemovedIsForItsOwnerAndRoot) {
  AddContent(50, Whole());
  AddVersion("a", 1, 50, 0644);
  EXPECT_EQ(Error(Read("versions/a/0001", As(kBob)).status()), EACCES);
  EXPECT_TRUE(Read("versions/a/0001", As(kAlice)).ok());
  EXPECT_TRUE(Read("versions/a/0001", As(0)).ok());
}

TEST_F(VirtualTest, GroupsCount) {
  AddContent(50, Whole());
  AddVersion("a", 1, 50, 0640);
  AddFile(kDirectory, "a", 30, 50, 5, 0640);
  EXPECT_EQ(Error(Read("versions/a/0001", As(kBob)).status()), EACCES);
  EXPECT_TRUE(Read("versions/a/0001", As(kBob, {kTeam})).ok());
}

TEST_F(VirtualTest, SearchAndListingAreThoseOfTheDirectory) {
  inodes_[kDirectory].mode = S_IFDIR | 0711;
  const Result<Entry> root = Walk("", As(kBob));
  ASSERT_TRUE(root.ok());
  EXPECT_EQ(Error(nodes_.OpenDirectory(As(kBob), root->node).status()), EACCES);
  EXPECT_TRUE(nodes_.Lookup(As(kBob), root->node, "versions").ok());
  inodes_[kDirectory].mode = S_IFDIR | 0700;
  EXPECT_EQ(Error(nodes_.Lookup(As(kBob), root->node, "versions").status()), EACCES);
  EXPECT_EQ(Error(Walk("", As(kBob)).status()), EACCES);
}

TEST_F(VirtualTest, IdsAreStableAndDroppedWithTheLastLookup) {
  const Result<Entry> first = Walk("versions");
  EXPECT_EQ(Walk("versions")->node, first->node);
  EXPECT_EQ(nodes_.known(), 1u);
  nodes_.Forget(first->node, 1);
  EXPECT_EQ(nodes_.known(), 1u);
  nodes_.Forget(first->node, 1);
  EXPECT_EQ(nodes_.known(), 0u);
  EXPECT_EQ(Error(nodes_.GetAttributes(first->node, {}).status()), ESTALE);
  EXPECT_EQ(Walk("versions")->node, first->node);
}

TEST_F(VirtualTest, TheKernelKeepsOnlyWhatStaysAsItIs) {
  AddContent(50, Whole());
  AddVersion("a", 1, 50);
  EXPECT_EQ(Walk("versions")->entry_valid_ns, kSecondNs);
  for (const char* path : {"status", "versions/a", "versions/a/latest"}) {
    EXPECT_EQ(Walk(path)->entry_valid_ns, 0) << path;
  }
  for (const char* path : {"status", "versions/a/latest"}) {
    EXPECT_EQ(Walk(path)->attributes.valid_ns, 0) << path;
  }
  EXPECT_EQ(Walk("versions/a/0001")->entry_valid_ns, kSecondNs);
  EXPECT_EQ(Walk("versions/a/0001")->attributes.valid_ns, kImmutableValidNs);
}

TEST_F(VirtualTest, StatusIsMadeWhenItIsOpened) {
  EXPECT_EQ(*Read("status"), "{\"a\": 1}");
  const Result<Entry> entry = Walk("status");
  EXPECT_TRUE(nodes_.Open(As(kBob), entry->node, O_RDONLY)->direct_io);
  EXPECT_EQ(entry->attributes.stat.st_mode, mode_t{S_IFREG | 0444});
}

TEST_F(VirtualTest, VersionsAnswerStatusAttributes) {
  AddContent(50, Whole(ContentFormat::kTorchZip));
  AddVersion("a", 7, 50);
  const Result<Entry> entry = Walk("versions/a/0007");
  EXPECT_EQ(*nodes_.GetXattr(As(0), entry->node, "user.varve.version"), "7");
  EXPECT_EQ(*nodes_.GetXattr(As(0), entry->node, "user.varve.mode"), "0644");
  EXPECT_EQ(*nodes_.GetXattr(As(0), entry->node, "user.varve.mtime"), "77.000000005");
  EXPECT_EQ(*nodes_.GetXattr(As(0), entry->node, "user.varve.format"), "torch-zip");
  EXPECT_EQ(*nodes_.GetXattr(As(0), entry->node, "user.varve.complete"), "1");
  EXPECT_EQ(Error(nodes_.GetXattr(As(0), entry->node, "security.capability").status()), ENODATA);
  EXPECT_EQ(*nodes_.ListXattr(As(0), entry->node), "");
}

TEST_F(VirtualTest, LatestIsTheNewestCompleteFile) {
  EXPECT_EQ(Error(Latest().status()), ENOENT);
  ContentRecord half = Whole();
  half.complete = false;
  AddContent(50, Whole());
  AddContent(51, half);
  AddContent(52, Whole(ContentFormat::kPlain));
  AddFile(kDirectory, "old.safetensors", 30, 50, 10);
  AddFile(kDirectory, "half.safetensors", 31, 51, 20);
  AddFile(kDirectory, "notes.txt", 32, 52, 30);
  EXPECT_EQ(*Latest(), "../old.safetensors");
  AddFile(kDirectory, "new.safetensors", 33, 50, 15);
  EXPECT_EQ(*Latest(), "../new.safetensors");
}

TEST_F(VirtualTest, LatestFindsDirectoriesTwoLevelsDown) {
  AddContent(50, Whole());
  AddDirectory(kDirectory, 40, "checkpoint-1");
  AddFile(40, "model.safetensors", 41, 50, 10);
  EXPECT_EQ(*Latest(), "../checkpoint-1");
  AddDirectory(kDirectory, 44, "run2");
  AddDirectory(44, 46, "checkpoint-9");
  AddFile(46, "model.safetensors", 47, 50, 11);
  EXPECT_EQ(*Latest(), "../run2/checkpoint-9");
  AddDirectory(46, 60, "deeper");
  AddFile(60, "model.safetensors", 61, 50, 99);
  EXPECT_EQ(*Latest(), "../run2/checkpoint-9") << "three levels down is not looked at";
}

TEST_F(VirtualTest, LatestSkipsADirectoryThatIsBeingWritten) {
  AddContent(50, Whole());
  AddDirectory(kDirectory, 40, "checkpoint-1");
  AddFile(40, "model.safetensors", 41, 50, 10);
  AddDirectory(kDirectory, 44, "checkpoint-2");
  AddFile(44, "model.safetensors", 45, 50, 20);
  EXPECT_EQ(*Latest(), "../checkpoint-2");
  AddContent(51, ContentRecord());  // not captured, so nobody knows its format
  AddFile(44, "optimizer.pt", 46, 51, 21);
  EXPECT_EQ(*Latest(), "../checkpoint-1");
  AddFile(44, "optimizer.pt", 46, 50, 21);
  EXPECT_EQ(*Latest(), "../checkpoint-2");
  AddFile(44, "train.log", 47, 51, 22);  // an open log says nothing about the rest
  EXPECT_EQ(*Latest(), "../checkpoint-2");
}

TEST(Access, OneClassOfBitsDecides) {
  const Guard guard{S_IFREG | 0074, kAlice, kTeam};
  EXPECT_FALSE(Allows(guard, As(kAlice, {kTeam}), R_OK)) << "the owner's class, though it is empty";
  EXPECT_TRUE(Allows(guard, As(kBob, {kTeam}), R_OK | W_OK | X_OK));
  EXPECT_TRUE(Allows(guard, As(kBob), R_OK));
  EXPECT_FALSE(Allows(guard, As(kBob), R_OK | X_OK));
  EXPECT_TRUE(Allows(guard, As(0), R_OK | W_OK));
  EXPECT_FALSE(Allows({S_IFREG | 0600, kAlice, kTeam}, As(0), X_OK));
  EXPECT_TRUE(Allows({S_IFDIR | 0600, kAlice, kTeam}, As(0), X_OK));
}

TEST(Access, GroupsAreAskedForOnlyIfTheyMatter) {
  int asked = 0;
  Caller caller = As(kBob);
  caller.groups = [&] { return ++asked, std::vector<gid_t>(); };
  EXPECT_TRUE(Allows({S_IFREG | 0644, kAlice, kTeam}, caller, R_OK));
  EXPECT_EQ(asked, 0);
  EXPECT_FALSE(Allows({S_IFREG | 0640, kAlice, kTeam}, caller, R_OK));
  EXPECT_EQ(asked, 1);
}

}  // namespace
}  // namespace varve
