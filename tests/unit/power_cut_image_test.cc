#include "tests/support/power_cut_image.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"

namespace varve::testing {
namespace {

constexpr uint64_t kSector = PowerCutImage::kSectorBytes;
constexpr uint64_t kSectors = 64;

class PowerCutImageTest : public ::testing::Test {
 protected:
  void Start(uint64_t cache_bytes = PowerCutImage::kCacheBytesDefault) {
    // A new file: truncating one that is being written back waits for that.
    std::filesystem::remove(path_);
    std::ofstream(path_, std::ios::binary) << std::string(kSectors * kSector, 'o');
    auto image = PowerCutImage::Open(path_, cache_bytes);
    ASSERT_TRUE(image.ok()) << image.status().ToString();
    image_ = std::move(image).value();
  }
  void Write(uint64_t sector, uint64_t count, char fill) {
    const std::string bytes(count * kSector, fill);
    const Status status = image_->Write(sector * kSector, AsBytes(bytes));
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  // One letter for each sector of the file; "?" for a torn one.
  std::string Survived(uint64_t first, uint64_t count) const {
    std::ifstream file(path_, std::ios::binary);
    file.seekg(static_cast<std::streamoff>(first * kSector));
    std::string letters;
    for (uint64_t sector = first; sector < first + count; ++sector) {
      std::string own(kSector, '\0');
      file.read(own.data(), kSector);
      letters += own == std::string(kSector, own[0]) ? own[0] : '?';
    }
    return letters;
  }
  PowerCutImage& image() { return *image_; }

 private:
  const TempDir directory_;
  const std::string path_ = directory_ / "image";
  std::unique_ptr<PowerCutImage> image_;
};

TEST_F(PowerCutImageTest, ReadsTheNewestBytes) {
  Start();
  Write(1, 2, 'a');
  Write(2, 2, 'b');
  std::string bytes(4 * kSector, '?');
  ASSERT_TRUE(image().Read(0, {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()}).ok());
  EXPECT_EQ(bytes,
            std::string(kSector, 'o') + std::string(kSector, 'a') + std::string(2 * kSector, 'b'));
}

TEST_F(PowerCutImageTest, FlushedSurvivesEveryLoss) {
  for (const char* loss : {"all", "tail", "random"}) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      Start();
      Write(0, 4, 'f');
      ASSERT_TRUE(image().Flush().ok());
      Write(2, 4, 'u');
      ASSERT_TRUE(image().Cut(*PowerCutImage::LossFromName(loss), seed).ok());
      const std::string survived = Survived(0, 7);
      EXPECT_EQ(survived.substr(0, 2), "ff");
      for (size_t i = 2; i < 4; ++i) EXPECT_TRUE(survived[i] == 'f' || survived[i] == 'u');
      for (size_t i = 4; i < 6; ++i) EXPECT_TRUE(survived[i] == 'o' || survived[i] == 'u');
      EXPECT_EQ(survived[6], 'o');
    }
  }
}

TEST_F(PowerCutImageTest, AllTakesEverythingUnflushed) {
  Start();
  Write(0, 2, 'a');
  Write(1, 2, 'b');
  Write(0, 1, 'c');
  ASSERT_TRUE(image().Cut(PowerCutImage::Loss::kAll, 0).ok());
  EXPECT_EQ(Survived(0, 4), "oooo");
  EXPECT_EQ(image().counts().lost_sectors, 5U);
}

TEST_F(PowerCutImageTest, TailKeepsAPrefixInTheOrderOfWriting) {
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Start();
    Write(4, 2, 'a');
    Write(1, 1, 'b');
    Write(4, 1, 'c');
    ASSERT_TRUE(image().Cut(PowerCutImage::Loss::kTail, seed).ok());
    seen.insert(Survived(0, 6));
  }
  EXPECT_EQ(seen, (std::set<std::string>{"oooooo", "ooooao", "ooooaa", "obooaa", "obooca"}));
}

TEST_F(PowerCutImageTest, RandomKeepsSomeVersionOfEachSector) {
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 500; ++seed) {
    Start();
    Write(0, 2, 'a');
    Write(1, 1, 'b');
    ASSERT_TRUE(image().Cut(PowerCutImage::Loss::kRandom, seed).ok());
    seen.insert(Survived(0, 3));
  }
  EXPECT_EQ(seen, (std::set<std::string>{"ooo", "oao", "obo", "aoo", "aao", "abo"}));
}

TEST_F(PowerCutImageTest, TheSameSeedTakesTheSame) {
  const uint64_t seed = TestSeed();
  std::set<std::string> seen;
  for (int round = 0; round < 3; ++round) {
    Start();
    Random random(seed);
    for (int i = 0; i < 100; ++i) {
      const uint64_t sector = random.Below(kSectors);
      Write(sector, random.Between(1, kSectors - sector), static_cast<char>('a' + i % 26));
      if (random.Chance(1, 30)) {
        ASSERT_TRUE(image().Flush().ok());
      }
    }
    ASSERT_TRUE(image().Cut(PowerCutImage::Loss::kRandom, seed).ok());
    seen.insert(Survived(0, kSectors));
  }
  EXPECT_EQ(seen.size(), 1U);
}

TEST_F(PowerCutImageTest, TheCacheIsLimited) {
  Start(4 * kSector);
  for (uint64_t sector = 0; sector < 10; ++sector) Write(sector, 1, 'n');
  EXPECT_EQ(image().counts().unflushed_bytes, 4 * kSector);
  ASSERT_TRUE(image().Cut(PowerCutImage::Loss::kAll, 0).ok());
  EXPECT_EQ(Survived(0, 10), "nnnnnnoooo");
}

TEST_F(PowerCutImageTest, NothingWorksAfterTheCut) {
  Start();
  ASSERT_TRUE(image().Cut(PowerCutImage::Loss::kAll, 0).ok());
  uint8_t bytes[kSector] = {};
  EXPECT_EQ(image().Read(0, bytes).code(), Code::kIo);
  EXPECT_EQ(image().Write(0, bytes).code(), Code::kIo);
  EXPECT_EQ(image().Flush().code(), Code::kIo);
  EXPECT_EQ(image().Cut(PowerCutImage::Loss::kAll, 0).code(), Code::kIo);
}

TEST_F(PowerCutImageTest, OnlyWholeSectorsOfTheDisk) {
  Start();
  uint8_t bytes[2 * kSector] = {};
  EXPECT_EQ(image().Write(1, {bytes, kSector}).code(), Code::kInvalid);
  EXPECT_EQ(image().Write(0, {bytes, 100}).code(), Code::kInvalid);
  EXPECT_EQ(image().Write((kSectors - 1) * kSector, bytes).code(), Code::kInvalid);
  EXPECT_FALSE(PowerCutImage::LossFromName("some").ok());
  EXPECT_FALSE(PowerCutImage::Open("/nonexistent/image").ok());
}

}  // namespace
}  // namespace varve::testing
