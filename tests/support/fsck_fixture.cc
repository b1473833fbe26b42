#include "tests/support/fsck_fixture.h"

#include <filesystem>

#include "tests/support/random.h"

namespace varve::testing {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kAllCold = 1;

// Made once; every test damages a copy of it. Nothing is pending in it.
const std::string& SoundStore() {
  static const TempDir directory;
  static const std::string path = [] {
    const std::string store = directory / "store";
    {
      StoreSession session(store, kAllCold);
      session.MakeDirectory("dir");
      session.MakeDirectory("dir/sub");
      session.Write("dir/sub/f", "hello");
      session.MakeLink("dir/sub/f", "dir/g");
      session.MakeSymlink("dir/l", "sub/f");
      session.Write("cold", ColdBytes());
      for (const char* bytes : {"first", "second", "third"}) session.Write("v", bytes);
      session.SetXattr("v", "user.loss", "0.25");
      session.Write("gone", "gone");
      session.Remove("gone");
      session.Write("empty", "");
      session.Drain();
    }
    StoreSession session(store);
    session.Write("hot", HotBytes());
    session.Drain();
    return store;
  }();
  return path;
}

}  // namespace

const std::string& ColdBytes() {
  static const std::string bytes = Random(1).Bytes(2u << 20);
  return bytes;
}

const std::string& HotBytes() {
  static const std::string bytes = Random(2).Bytes(1u << 20);
  return bytes;
}

FsckFixture::FsckFixture() { fs::copy(SoundStore(), store_, fs::copy_options::recursive); }

FsckReport FsckFixture::Check(const FsckOptions& options) {
  Result<FsckReport> report = CheckStore(store_, options);
  EXPECT_TRUE(report.ok()) << report.status().ToString();
  return report.ok() ? *std::move(report) : FsckReport();
}

FsckOptions FsckFixture::Repair() {
  FsckOptions options;
  options.repair = true;
  return options;
}

std::string FsckFixture::Text(const FsckReport& report) {
  std::string text;
  for (const FsckReport::Finding& finding : report.findings)
    text += finding.what + " (" + finding.remedy + ")\n";
  for (const std::string& note : report.notes) text += "note: " + note + "\n";
  return text;
}

void FsckFixture::FindAndRepair(const std::string& sentence, bool verify_data) {
  FsckOptions options;
  options.verify_data = verify_data;
  const FsckReport found = Check(options);
  EXPECT_FALSE(found.clean());
  EXPECT_NE(Text(found).find(sentence), std::string::npos) << sentence << "\n" << Text(found);
  EXPECT_EQ(found.repaired, 0u);
  EXPECT_EQ(Check(options).damages, found.damages);
  options.repair = true;
  const FsckReport repaired = Check(options);
  EXPECT_NE(Text(repaired).find(sentence), std::string::npos) << Text(repaired);
  EXPECT_EQ(repaired.repaired, repaired.damages) << Text(repaired);
  options.repair = false;
  const FsckReport after = Check(options);
  EXPECT_TRUE(after.clean()) << Text(repaired) << "--- after:\n" << Text(after);
}

Status FsckFixture::OpenFails() {
  class NoKernel final : public KernelChannel {
   public:
    int32_t RegisterBacking(int) override { return 0; }
    void UnregisterBacking(int32_t) override {}
    void InvalidateNode(NodeId) override {}
    void InvalidateName(NodeId, std::string) override {}
  } kernel;
  const auto volume = OpenVolume(store_, VolumeOptions(), kernel);
  EXPECT_FALSE(volume.ok());
  return volume.status();
}

void FsckFixture::ExpectBytes(StoreSession& session, const std::string& path,
                              const std::string& bytes) {
  const Result<std::string> read = session.Read(path);
  ASSERT_TRUE(read.ok()) << path << ": " << read.status().ToString();
  EXPECT_TRUE(*read == bytes) << path;
}

void FsckFixture::ExpectGone(StoreSession& session, const std::string& path) {
  EXPECT_EQ(session.Find(path).status().os_errno(), ENOENT) << path;
}

void FsckFixture::ExpectIoError(StoreSession& session, const std::string& path) {
  const Result<std::string> read = session.Read(path);
  EXPECT_EQ(read.status().code(), Code::kCorrupt) << path;
  const Result<std::string> complete = session.GetXattr(path, "user.varve.complete");
  ASSERT_TRUE(complete.ok()) << path;
  EXPECT_EQ(*complete, "0") << path;
}

}  // namespace varve::testing
