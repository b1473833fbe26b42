#include <gtest/gtest.h>

#include "store/format/completeness.h"
#include "store/format/zip.h"
#include "tests/support/bytes_source.h"
#include "tests/support/seed.h"
#include "tests/support/zip_builder.h"

namespace varve {
namespace {

using testing::BytesSource;
using testing::Random;
using testing::TestRounds;
using testing::TestSeed;
using testing::ZipBuilder;

Completeness Check(std::string bytes) {
  BytesSource source(std::move(bytes));
  const Result<Completeness> result = CheckCompleteness(source);
  EXPECT_TRUE(result.ok()) << result.status().ToString();
  return *result;
}

std::string TorchFile(const ZipBuilder::Options& options) {
  return ZipBuilder(options)
      .Add("model/data.pkl", "pickle")
      .Add("model/.format_version", "1")
      .Add("model/byteorder", "little")
      .Add("model/data/0", std::string(3000, 'a'))
      .Add("model/data/1", std::string(500, 'b'))
      .Add("model/version", "3\n")
      .Add("model/.data/serialization_id", "0123")
      .Finish();
}

std::vector<ZipBuilder::Options> AllOptions() {
  return {{false, false, ""}, {true, false, ""}, {false, true, ""}, {true, true, "a comment"}};
}

TEST(TorchZip, WholeFiles) {
  for (const ZipBuilder::Options& options : AllOptions()) {
    const Completeness found = Check(TorchFile(options));
    EXPECT_EQ(found.format, ContentFormat::kTorchZip);
    EXPECT_TRUE(found.complete) << found.reason;
  }
}

TEST(TorchZip, TorchScriptToo) {
  const Completeness found = Check(ZipBuilder()
                                       .Add("net/version", "3")
                                       .Add("net/code/__torch__/Net.py", "...")
                                       .Add("net/constants.pkl", "...")
                                       .Finish());
  EXPECT_EQ(found.format, ContentFormat::kTorchZip);
  EXPECT_TRUE(found.complete);
}

TEST(TorchZip, EveryTruncationIsSeen) {
  for (const ZipBuilder::Options& options : AllOptions()) {
    const std::string file = TorchFile(options);
    // From where the first name can be read.
    for (size_t size = 30 + sizeof("model/data.pkl") - 1; size < file.size(); ++size) {
      const Completeness found = Check(file.substr(0, size));
      ASSERT_EQ(found.format, ContentFormat::kTorchZip) << size;
      ASSERT_FALSE(found.complete) << size;
      ASSERT_NE(found.reason, "");
    }
  }
}

TEST(TorchZip, HalfOverwrittenFiles) {
  // The directory is the new file's or the old one's, the data are not.
  const std::string file = TorchFile({});
  EXPECT_FALSE(Check(file + std::string(4096, '\0')).complete);
  EXPECT_FALSE(Check(file + "junk").complete);
  std::string hole = file;
  hole.replace(file.size() - 200, 150, 150, '\0');
  EXPECT_FALSE(Check(hole).complete);
}

TEST(TorchZip, DirectoryThatNamesWhatIsNotThere) {
  std::string file = TorchFile({});
  BytesSource source(file);
  const ZipDirectory directory = **FindZipDirectory(source);
  EXPECT_EQ(directory.entries, 7u);
  const auto put = [&](size_t at, uint32_t value) {
    std::string word;
    ByteWriter(&word).U32(value);
    std::string damaged = file;
    damaged.replace(at, 4, word);
    return Check(damaged);
  };
  const auto entry = static_cast<size_t>(directory.offset_bytes);
  EXPECT_TRUE(put(entry + 42, 0).complete);
  EXPECT_FALSE(put(entry + 42, static_cast<uint32_t>(directory.offset_bytes)).complete);
  EXPECT_FALSE(put(entry + 42, 0xfffffff0).complete);
  EXPECT_FALSE(put(entry + 42, 0xffffffff).complete);  // zip64, but there is none
  EXPECT_FALSE(put(entry + 20, 0x7fffffff).complete);  // stored size
  EXPECT_FALSE(put(entry, 0).complete);                // signature
  EXPECT_FALSE(put(file.size() - 12, static_cast<uint32_t>(directory.size_bytes - 1)).complete);
  EXPECT_FALSE(put(file.size() - 14, 0xffff0008).complete);  // entries
}

TEST(TorchZip, OtherZipsArePlain) {
  for (const ZipBuilder::Options& options : AllOptions()) {
    const std::string file =
        ZipBuilder(options).Add("arr_0.npy", "...").Add("notes/version", "1").Finish();
    EXPECT_EQ(Check(file).format, ContentFormat::kPlain);
    EXPECT_TRUE(Check(file).complete);
    EXPECT_EQ(Check(file.substr(0, 50)).format, ContentFormat::kPlain);
  }
  // A source tree with a file of a name that torch uses too.
  EXPECT_EQ(
      Check(ZipBuilder().Add("tool-1.0/version", "1").Add("tool-1.0/a.c", "").Finish()).format,
      ContentFormat::kPlain);
  EXPECT_EQ(Check("PK\x03\x04").format, ContentFormat::kPlain);
  EXPECT_EQ(Check(ZipBuilder().Finish()).format, ContentFormat::kPlain);
}

TEST(TorchZip, SmallestAndLargestComments) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{65535}}) {
    const std::string file = TorchFile({false, false, std::string(size, 'c')});
    EXPECT_TRUE(Check(file).complete) << size;
  }
  // A comment that looks like the end of a zip.
  std::string fake = "PK\x05\x06" + std::string(18, '\0');
  EXPECT_TRUE(Check(TorchFile({true, false, "x" + fake + "yz"})).complete);
}

TEST(TorchZip, ReadErrorsAreErrors) {
  const std::string file = TorchFile({});
  for (const uint64_t at : {uint64_t{0}, uint64_t{file.size() - 1}}) {
    BytesSource source(file);
    source.FailAt(at);
    EXPECT_EQ(CheckCompleteness(source).status().code(), Code::kIo);
  }
}

TEST(TorchZip, AnyDamageIsSurvived) {
  Random random(TestSeed());
  for (uint64_t round = TestRounds(5000); round > 0; --round) {
    std::string bad = TorchFile(AllOptions()[random.Below(4)]);
    for (uint64_t n = random.Between(1, 8); n > 0; --n) {
      // Mostly at the end, where the directory is.
      const size_t from = random.Chance(3, 4) ? bad.size() - bad.size() / 5 : 0;
      bad[from + random.Below(bad.size() - from)] = static_cast<char>(random.Below(256));
    }
    (void)Check(std::move(bad));
  }
}

}  // namespace
}  // namespace varve
