// A copy that copy_file_range has made lies on its source, and replaces something else: a power
// cut before it is durable must not show the one in place of the other.
#include <fcntl.h>
#include <gtest/gtest.h>

#include "store/base/log.h"
#include "tests/support/seed.h"
#include "tests/support/sim_store.h"

namespace varve {
namespace {

using testing::SimStore;
using testing::TestSeed;

constexpr int64_t kMillisecond = 1'000'000;

class CopiedFileSimTest : public ::testing::Test {
 protected:
  struct Opened {
    NodeId node = 0;
    HandleId handle = 0;
  };
  void SetUp() override {
    ASSERT_TRUE(InitLog({LogLevel::kError, false, "", false}).ok());
    ASSERT_TRUE(store_.Open().ok());
  }
  void TearDown() override { EXPECT_TRUE(InitLog(LogOptions()).ok()); }

  LiveNodes& live() { return store_.parts().live(); }
  Opened Create(const std::string& name) {
    const auto created = live().Create(Caller{}, kRootNode, name, 0644, O_WRONLY | O_EXCL);
    EXPECT_TRUE(created.ok());
    return created.ok() ? Opened{created->entry.node, created->opened.handle} : Opened();
  }
  void Close(const Opened& file) {
    ASSERT_TRUE(live().Flush(file.node, file.handle).ok());
    live().Release(file.node, file.handle);
  }
  void Save(const std::string& name, const std::string& bytes) {
    const Opened file = Create(name);
    ASSERT_TRUE(live().Write(file.node, file.handle, 0, AsBytes(bytes), false).ok());
    Close(file);
    store_.clock().Advance(300 * kMillisecond);
    store_.parts().digester().RunReady();
  }
  std::string Read(const std::string& name) {
    const auto entry = live().Lookup(Caller{}, kRootNode, name);
    if (!entry.ok()) return "there is no " + name;
    const auto opened = live().Open(Caller{}, entry->node, O_RDONLY);
    if (!opened.ok()) return opened.status().ToString();
    const auto reply = live().Read(entry->node, opened->handle, 0, 1 << 20);
    std::string bytes;
    if (reply.ok())
      for (const ByteView part : reply->parts) bytes.append(AsText(part));
    live().Release(entry->node, opened->handle);
    return bytes;
  }

  SimStore store_{{}};
};

TEST_F(CopiedFileSimTest, AChangedCopyFallsBackToWhatItReplaced) {
  const std::string source(300'000, 's');
  const std::string replaced(200'000, 'r');
  Save("source", source);
  Save("target", replaced);
  const auto from = live().Lookup(Caller{}, kRootNode, "source");
  ASSERT_TRUE(from.ok());
  const auto reading = live().Open(Caller{}, from->node, O_RDONLY);
  ASSERT_TRUE(reading.ok());
  const Opened copy = Create("copy");
  const auto copied = live().CopyRange({from->node, reading->handle, 0}, copy.node, copy.handle, 0,
                                       source.size(), false);
  ASSERT_TRUE(copied.ok());
  ASSERT_EQ(*copied, source.size());
  ASSERT_TRUE(live().Write(copy.node, copy.handle, 100, AsBytes("changed"), false).ok());
  Close(copy);
  live().Release(from->node, reading->handle);
  ASSERT_TRUE(live().Rename(Caller{}, kRootNode, "copy", {kRootNode, "target", 0}).ok());
  ASSERT_TRUE(live().FsyncDirectory(kRootNode, 0, false).ok());
  store_.PowerCut(TestSeed());
  ASSERT_TRUE(store_.Open().ok());
  EXPECT_TRUE(Read("target") == replaced);
  EXPECT_TRUE(Read("source") == source);
  EXPECT_EQ(store_.Fsck(true), "");
}

}  // namespace
}  // namespace varve
