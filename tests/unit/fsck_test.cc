// Stores that were damaged in one way each: fsck names it, repairs it, and is then
// clean; and what can be saved is there.

#include <gtest/gtest.h>

#include <functional>
#include <ostream>

#include "fs/core/directory_history.h"
#include "tests/support/fsck_fixture.h"

namespace varve {
namespace {

using testing::ColdBytes;
using testing::FsckFixture;
using testing::HotBytes;
using testing::StoreEditor;
using testing::StoreSession;

// What it takes to destroy something, to find it, and what is there after a repair.
struct Damage {
  const char* name;
  std::function<void(StoreEditor&)> inflict;
  const char* sentence;
  std::function<void(StoreSession&)> after;
};
std::string NameOf(const ::testing::TestParamInfo<Damage>& damage) { return damage.param.name; }
void PrintTo(const Damage& damage, std::ostream* out) { *out << damage.name; }

class FsckDamage : public FsckFixture, public ::testing::WithParamInterface<Damage> {
 public:
  using FsckFixture::ExpectBytes;
  using FsckFixture::ExpectGone;
  using FsckFixture::ExpectIoError;
};

TEST_P(FsckDamage, IsFoundAndRepaired) {
  {
    StoreEditor editor(store_);
    GetParam().inflict(editor);
  }
  FindAndRepair(GetParam().sentence);
  {
    StoreSession session(store_);
    if (GetParam().after) GetParam().after(session);
    session.Write("new", "new");
    session.Drain();
  }
  const FsckReport report = Check();
  EXPECT_TRUE(report.clean()) << Text(report);
}

constexpr auto ExpectBytes = &FsckDamage::ExpectBytes;
constexpr auto ExpectGone = &FsckDamage::ExpectGone;
constexpr auto ExpectIoError = &FsckDamage::ExpectIoError;

const Damage kTreeDamages[] = {
    {"RowOfAnInode", [](StoreEditor& e) { e.Put(key::Inode(e.Inode("v")), "nonsense"); },
     "row of inode", [](StoreSession& s) { ExpectBytes(s, "v", "third"); }},
    {"RowOfAnUnknownTable", [](StoreEditor& e) { e.Put("Zebra", "x"); }, "unknown key", nullptr},
    {"CounterTooLow",
     [](StoreEditor& e) {
       Batch batch;
       Tree::PutReservedIds(20, &batch);
       e.Apply(batch);
     },
     "are in use", nullptr},
    {"RootGone", [](StoreEditor& e) { e.Delete(key::Inode(kRootNode)); },
     "the root directory is gone", [](StoreSession& s) { ExpectBytes(s, "dir/sub/f", "hello"); }},
    {"FileGone", [](StoreEditor& e) { e.Delete(key::Inode(e.Inode("v"))); }, "/v names inode",
     [](StoreSession& s) {
       ExpectBytes(s, "v", "third");
       ExpectBytes(s, ".varve/versions/v/0001", "first");
     }},
    {"FileWithoutHistoryGone", [](StoreEditor& e) { e.Delete(key::Inode(e.Inode("empty"))); },
     "/empty names inode", [](StoreSession& s) { ExpectGone(s, "empty"); }},
    {"DirectoryGone", [](StoreEditor& e) { e.Delete(key::Inode(e.Inode("dir/sub"))); },
     "has entries and no record", [](StoreSession& s) { ExpectBytes(s, "dir/sub/f", "hello"); }},
    {"SymlinkGone", [](StoreEditor& e) { e.Delete(key::Inode(e.Inode("dir/l"))); },
     "/dir/l names inode", [](StoreSession& s) { EXPECT_TRUE(S_ISLNK(s.Stat("dir/l")->st_mode)); }},
    {"OneOfTwoNamesGone", [](StoreEditor& e) { e.DeleteName("dir/sub/f"); }, "says that it has 2",
     [](StoreSession& s) {
       ExpectBytes(s, "dir/g", "hello");
       EXPECT_EQ(s.Stat("dir/g")->st_nlink, 1u);
     }},
    {"OnlyNameGone", [](StoreEditor& e) { e.DeleteName("v"); }, "cannot be reached",
     [](StoreSession& s) {
       const auto names = s.List("lost+found");
       ASSERT_TRUE(names.ok());
       ASSERT_EQ(names->size(), 1u);
       ExpectBytes(s, "lost+found/" + names->front(), "third");
       EXPECT_EQ(*s.GetXattr("lost+found/" + names->front(), "user.loss"), "0.25");
     }},
    {"NameOfADirectoryGone", [](StoreEditor& e) { e.DeleteName("dir"); }, "cannot be reached",
     [](StoreSession& s) {
       const auto names = s.List("lost+found");
       ASSERT_TRUE(names.ok());
       ASSERT_EQ(names->size(), 1u);
       ExpectBytes(s, "lost+found/" + names->front() + "/sub/f", "hello");
     }},
    {"LinkCount",
     [](StoreEditor& e) { e.ChangeInode("v", [](InodeRecord& inode) { inode.links = 5; }); },
     "says that it has 5 links, and has 1",
     [](StoreSession& s) { EXPECT_EQ(s.Stat("v")->st_nlink, 1u); }},
    {"LinkCountOfADirectory",
     [](StoreEditor& e) { e.ChangeInode("dir", [](InodeRecord& inode) { inode.links = 2; }); },
     "says that it has 2 links, and has 3", nullptr},
    {"LinkRowGone",
     [](StoreEditor& e) { e.Delete(key::Link(e.Inode("dir/g"), e.Inode("dir"), "g")); },
     "list of its names", [](StoreSession& s) { ExpectBytes(s, "dir/g", "hello"); }},
    {"LinkRowTooMany", [](StoreEditor& e) { e.Put(key::Link(e.Inode("v"), kRootNode, "v"), ""); },
     "list of several names", nullptr},
    {"ParentWrong",
     [](StoreEditor& e) { e.ChangeInode("dir/sub", [](InodeRecord& inode) { inode.parent = 1; }); },
     "does not know where it is", nullptr},
    {"ListedAsRemoved", [](StoreEditor& e) { e.Put(key::Orphan(e.Inode("v")), ""); },
     "is listed as removed, and is not", [](StoreSession& s) { ExpectBytes(s, "v", "third"); }},
    {"RemovedAndNotListed",
     [](StoreEditor& e) {
       InodeRecord record;
       record.mode = S_IFREG | 0600;
       e.Put(key::Inode(900), record.Encode());
     },
     "is not listed as removed", nullptr},
    {"Ring",
     [](StoreEditor& e) {
       const InodeNumber dir = e.Inode("dir");
       const InodeNumber sub = e.Inode("dir/sub");
       e.DeleteName("dir");
       e.PutName(sub, "dir", dir, S_IFDIR);
     },
     "lies below itself", [](StoreSession& s) { EXPECT_EQ(s.List("lost+found")->size(), 1u); }},
    {"WrongSlot", [](StoreEditor& e) { e.MoveName("v", 5 * Tree::kProbes); },
     "a look-up does not find it", [](StoreSession& s) { ExpectBytes(s, "v", "third"); }},
    {"GapBeforeASlot", [](StoreEditor& e) { e.MoveName("v", 2); }, "a look-up does not find it",
     [](StoreSession& s) { ExpectBytes(s, "v", "third"); }},
    {"NameTwice",
     [](StoreEditor& e) { e.PutNameAt(kRootNode, e.Slot("v") + 1, "v", e.Inode("hot"), S_IFREG); },
     "/v is there twice", [](StoreSession& s) { ExpectBytes(s, "v", "third"); }},
    {"SecondNameOfADirectory",
     [](StoreEditor& e) { e.PutName(kRootNode, "zzz", e.Inode("dir/sub"), S_IFDIR); },
     "second name of directory", nullptr},
    {"WrongType",
     [](StoreEditor& e) { e.PutNameAt(kRootNode, e.Slot("v"), "v", e.Inode("v"), S_IFIFO); },
     "another type", [](StoreSession& s) { ExpectBytes(s, "v", "third"); }},
    {"ImpossibleName", [](StoreEditor& e) { e.PutName(kRootNode, "a/b", e.Inode("v"), S_IFREG); },
     "no name that a file can have", nullptr},
    {"NameBelowAFile",
     [](StoreEditor& e) { e.PutName(e.Inode("v"), "x", e.Inode("hot"), S_IFREG); },
     "below something that is no directory", nullptr},
    {"TargetOfASymlinkGone", [](StoreEditor& e) { e.Delete(key::Symlink(e.Inode("dir/l"))); },
     "has no target", [](StoreSession& s) { ExpectGone(s, "dir/l"); }},
    {"RowsOfNoInode",
     [](StoreEditor& e) {
       e.Put(key::Symlink(900), "x");
       e.Put(key::Xattr(900, "user.x"), "x");
       e.Put(key::Orphan(900), "");
       e.Put(key::Link(900, 1, "x"), "");
     },
     "attribute \"user.x\"", nullptr},
    {"StrangeInode",
     [](StoreEditor& e) { e.ChangeInode("dir", [](InodeRecord& inode) { inode.content = 77; }); },
     "has a content and is no regular file", nullptr},
};
// What is captured when a store is drained: every directory.
const Damage kHistoryDamages[] = {
    {"PinOfNothing", [](StoreEditor& e) { e.Put(key::Pin(1000, "best"), EncodePin(77)); },
     "pin \"best\"", nullptr},
    {"MomentGone", [](StoreEditor& e) { e.Delete(key::Meta(SavedRows::kMomentMeta)); },
     "directories were captured at moment",
     [](StoreSession& s) { ExpectBytes(s, ".varve/history/v1/v", "third"); }},
    {"SavedRow",
     [](StoreEditor& e) { e.Put(key::Saved(key::Inode(e.Inode("v")), 1000), "nonsense"); },
     "of what was", [](StoreSession& s) { ExpectBytes(s, ".varve/history/v1/v", "third"); }},
    {"SavedRowOfALostContent",
     [](StoreEditor& e) {
       InodeRecord record;
       record.mode = S_IFREG | 0644;
       record.content = 1234;
       record.name = "was";
       e.Put(key::Saved(key::Inode(e.Inode("v")), 1000), SavedRow{record.Encode()}.Encode());
     },
     "a captured directory (as \"was\")", nullptr},
    {"VersionAboveTheCounter",
     [](StoreEditor& e) {
       NameRecord name;
       name.directory_versions = 1001;
       name.last_directory_version = 1;
       e.Put(key::Name(kRootNode, "run"), name.Encode());
       DirectoryVersionRecord version;
       version.inode = kRootNode;
       e.Put(key::DirectoryVersion(1001, 3), version.Encode());
     },
     "above the last number", nullptr},
};
INSTANTIATE_TEST_SUITE_P(History, FsckDamage, ::testing::ValuesIn(kHistoryDamages), NameOf);

INSTANTIATE_TEST_SUITE_P(Tree, FsckDamage, ::testing::ValuesIn(kTreeDamages), NameOf);

const Damage kContentDamages[] = {
    {"RecordGone", [](StoreEditor& e) { e.Delete(key::Content(e.Content("v"))); },
     "which /v names, is gone", [](StoreSession& s) { ExpectBytes(s, "v", "third"); }},
    {"RecordAndRecipeGone",
     [](StoreEditor& e) {
       const ContentId content = e.Content("v");
       e.DeleteAll(key::AllRecipe(content));
       e.Delete(key::Content(content));
     },
     "which /v names, is gone",
     [](StoreSession& s) {
       ExpectIoError(s, "v");
       ExpectBytes(s, ".varve/versions/v/0002", "second");
       s.Write("v", "fourth");
       ExpectBytes(s, "v", "fourth");
     }},
    {"RecordOfAVersionGone",
     [](StoreEditor& e) { e.Delete(key::Content(e.ContentOfVersion(kRootNode, "gone", 1))); },
     "version 1 of \"gone\"",
     [](StoreSession& s) { ExpectBytes(s, ".varve/versions/gone/0001", "gone"); }},
    {"RecipeGone", [](StoreEditor& e) { e.DeleteAll(key::AllRecipe(e.Content("cold"))); },
     "the recipe of /cold",
     [](StoreSession& s) {
       ExpectIoError(s, "cold");
       EXPECT_EQ(s.Stat("cold")->st_size, static_cast<off_t>(ColdBytes().size()));
     }},
    {"RecipeOfAHotFileGone", [](StoreEditor& e) { e.DeleteAll(key::AllRecipe(e.Content("hot"))); },
     "stored again, from its staging file",
     [](StoreSession& s) {
       s.Drain();
       ExpectBytes(s, "hot", HotBytes());
       EXPECT_EQ(*s.GetXattr("hot", "user.varve.stored"), "1");
     }},
    {"PlaceOfAChunkGone", [](StoreEditor& e) { e.Delete(e.FirstChunkKey("cold")); },
     "the index does not say where", [](StoreSession& s) { ExpectBytes(s, "cold", ColdBytes()); }},
    {"AllPlacesGone", [](StoreEditor& e) { e.DeleteAll(key::Table(key::kChunk)); },
     "the index does not say where", [](StoreSession& s) { ExpectBytes(s, "cold", ColdBytes()); }},
    {"PlaceOfAChunkWrong",
     [](StoreEditor& e) {
       ChunkLocation location = *e.Location(e.FirstChunkKey("cold"));
       location.offset_bytes += 64;
       e.Put(e.FirstChunkKey("cold"), EncodeLocation(location));
     },
     "is not where the index says", [](StoreSession& s) { ExpectBytes(s, "cold", ColdBytes()); }},
    {"VersionAboveItsCounter", [](StoreEditor& e) { e.Delete(key::Name(kRootNode, "v")); },
     "version 3 of /v is above the last number",
     [](StoreSession& s) {
       s.Write("v", "fourth");
       s.Drain();
       ExpectBytes(s, ".varve/versions/v/0003", "third");
       ExpectBytes(s, ".varve/versions/v/0004", "fourth");
     }},
    {"SizeOfAFile",
     [](StoreEditor& e) { e.ChangeInode("v", [](InodeRecord& inode) { inode.size_bytes = 99; }); },
     "says that it has 99 bytes", [](StoreSession& s) { ExpectBytes(s, "v", "third"); }},
    {"StageRowOfNothing",
     [](StoreEditor& e) { e.Put(key::Stage(900), std::string("\x84\x03\0\0\0\0\0\0", 8)); },
     "belongs to content 900", nullptr},
    {"StageRowGone", [](StoreEditor& e) { e.Delete(key::Stage(e.StageOf("hot"))); }, "back to /hot",
     [](StoreSession& s) { ExpectBytes(s, "hot", HotBytes()); }},
    {"ExtentsOfNoOverlay",
     [](StoreEditor& e) { e.Put(key::Extent(e.Content("cold"), 0), EncodeOffset(10)); },
     "belong to no overlay", [](StoreSession& s) { ExpectBytes(s, "cold", ColdBytes()); }},
    {"NeitherStoredNorStaged",
     [](StoreEditor& e) {
       e.ChangeContent("v", [](ContentRecord& content) { content.stored = false; });
     },
     "neither stored nor staged", [](StoreSession& s) { ExpectIoError(s, "v"); }},
};
INSTANTIATE_TEST_SUITE_P(Contents, FsckDamage, ::testing::ValuesIn(kContentDamages), NameOf);

}  // namespace
}  // namespace varve
