// Whoever reads what a captured directory shows goes on reading that, whatever becomes of the
// staging file it lies in: the file's next content may take it over.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "store/base/log.h"
#include "tests/support/sim_store.h"

namespace varve {
namespace {

using testing::SimStore;

constexpr int64_t kMillisecond = 1'000'000;
const Caller kRoot{};

class PendingReaderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(InitLog({LogLevel::kError, false, "", false}).ok());
    ASSERT_TRUE(store_.Open().ok());
    const auto created = live().Create(kRoot, kRootNode, "f", S_IFREG | 0644, O_WRONLY);
    ASSERT_TRUE(created.ok());
    node_ = created->entry.node;
    WriteAndClose(created->opened.handle, std::string(70'000, 'a'));
    // Shown by a captured directory: nobody goes on with it in place.
    ASSERT_TRUE(store_.parts().capture().Pin(kRootNode, "pin").ok());
    const auto record = store_.parts().tree().Inode(node_);
    ASSERT_TRUE(record.ok());
    content_ = record->content;
    ASSERT_FALSE(store_.parts().tree().Content(content_)->stored);
    auto reader = store_.parts().files().OpenContent(content_, 70'000, "f as it was");
    ASSERT_TRUE(reader.ok());
    reader_ = *reader;
    ASSERT_EQ(Read(), std::string(70'000, 'a'));
  }
  void TearDown() override { EXPECT_TRUE(InitLog(LogOptions()).ok()); }

  LiveNodes& live() { return store_.parts().live(); }
  void WriteAndClose(HandleId handle, const std::string& bytes) {
    ASSERT_TRUE(live().Write(node_, handle, 0, AsBytes(bytes), false).ok());
    ASSERT_TRUE(live().Flush(node_, handle).ok());
    live().Release(node_, handle);
  }
  void Change(int flags) {
    const auto opened = live().Open(kRoot, node_, flags);
    ASSERT_TRUE(opened.ok());
    WriteAndClose(opened->handle, std::string(50'000, 'b'));
  }
  std::string Read() {
    const auto reply = reader_->Read(0, 1 << 20);
    if (!reply.ok()) return reply.status().ToString();
    std::string bytes;
    for (const ByteView part : reply->parts) bytes.append(AsText(part));
    return bytes;
  }

  SimStore store_{{}};
  NodeId node_ = 0;
  ContentId content_ = 0;
  std::shared_ptr<ContentReader> reader_;
};

TEST_F(PendingReaderTest, TheFileIsChangedInPlace) {
  Change(O_RDWR);
  EXPECT_EQ(Read(), std::string(70'000, 'a'));
}

TEST_F(PendingReaderTest, TheFileIsTruncated) {
  Change(O_WRONLY | O_TRUNC);
  EXPECT_EQ(Read(), std::string(70'000, 'a'));
}

TEST_F(PendingReaderTest, ItIsStoredAndTheHotCopyIsChanged) {
  store_.clock().Advance(300 * kMillisecond);
  store_.parts().digester().RunReady();
  const auto stored = store_.parts().tree().Content(content_);
  ASSERT_TRUE(stored.ok());
  ASSERT_TRUE(stored->stored);
  Change(O_RDWR);
  EXPECT_EQ(Read(), std::string(70'000, 'a'));
}

TEST_F(PendingReaderTest, ItIsStoredAndItsStagingFileIsGone) {
  store_.clock().Advance(300 * kMillisecond);
  store_.parts().digester().RunReady();
  CollectOptions options;
  options.drop_hot = true;
  EXPECT_EQ(store_.parts().collector().Run(options).error, "");
  EXPECT_EQ(Read(), std::string(70'000, 'a'));
}

}  // namespace
}  // namespace varve
