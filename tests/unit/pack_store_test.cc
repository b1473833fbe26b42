#include "store/pack/pack_store.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pack_fixture.h"

namespace varve {
namespace {

using testing::PackFixture;
using testing::RandomBytes;
using testing::Scanned;
using testing::SomeBytes;
using testing::Stored;

class PackStoreTest : public PackFixture, public ::testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    options_.io_uring = GetParam();
    PackFixture::SetUp();
  }
};

INSTANTIATE_TEST_SUITE_P(Ways, PackStoreTest, ::testing::Values(true, false),
                         [](const auto& way) { return way.param ? "Uring" : "Plain"; });

TEST_P(PackStoreTest, ReadsAtOnce) {
  std::vector<Stored> stored;
  for (size_t i = 0; i < 40; ++i) {
    stored.push_back(Append(SomeBytes(1 + i * 5003, i)));
    ExpectReadable({stored.back()});
    ExpectReadable({stored.back()}, ReadFrom::kPageCache);
  }
  ExpectReadable(stored);
}

TEST_P(PackStoreTest, ReadsAfterSyncAndReopening) {
  const std::vector<Stored> stored = AppendMany(300, 300'000, 1);
  ASSERT_TRUE(store_->Sync().ok());
  ExpectReadable(stored);
  ExpectReadable(stored, ReadFrom::kPageCache);
  Reopen();
  ExpectReadable(stored);
  ExpectReadable(stored, ReadFrom::kPageCache);
}

TEST_P(PackStoreTest, SealsFullPacks) {
  options_.pack_bytes_target = 1 << 20;
  Reopen();
  std::vector<Stored> stored = AppendMany(60, 200'000, 2);
  EXPECT_GT(store_->Packs().size(), 2u);
  ExpectReadable(stored);
  ASSERT_TRUE(store_->Sync().ok());
  const std::vector<Stored> more = AppendMany(60, 200'000, 3);
  stored.insert(stored.end(), more.begin(), more.end());
  ExpectReadable(stored);
  ExpectScanned(stored, false);
  ExpectScanned(stored, true);
  Reopen();
  ExpectReadable(stored);
  ExpectScanned(stored, false);
  ExpectScanned(stored, true);
  uint64_t bytes = 0;
  for (const uint32_t pack : store_->Packs()) {
    struct stat attributes;
    ASSERT_EQ(stat(PackPath(pack).c_str(), &attributes), 0);
    bytes += static_cast<uint64_t>(attributes.st_size);
    // Nothing that was allocated ahead is left.
    EXPECT_LE(attributes.st_blocks * 512, attributes.st_size + 8192);
  }
  EXPECT_EQ(store_->Usage().bytes, bytes);
  EXPECT_EQ(store_->Usage().packs, store_->Packs().size());
}

TEST_P(PackStoreTest, SyncBetweenAppendsLeavesNoDamage) {
  std::vector<Stored> stored;
  for (size_t i = 0; i < 50; ++i) {
    stored.push_back(Append(SomeBytes(1 + (i * 7919) % 20'000, i)));
    ASSERT_TRUE(store_->Sync().ok());
    if (i % 5 == 0) ExpectReadable(stored);
  }
  EXPECT_EQ(store_->Packs().size(), 1u);
  ExpectScanned(stored, false);
  CrashAndReopen();
  ExpectReadable(stored);
  ExpectScanned(stored, true);
  ExpectScanned(stored, false);
}

TEST_P(PackStoreTest, Journals) {
  std::vector<std::string> records = {"", "first", std::string(100'000, 'j')};
  // Longer than all write buffers together, and it does not compress.
  const std::vector<uint8_t> noise = RandomBytes(30u << 20, 5);
  records.emplace_back(AsText(noise));
  records.emplace_back("after");
  std::vector<Stored> stored = AppendMany(5, 100'000, 4);
  for (size_t i = 0; i < records.size(); ++i) {
    ASSERT_TRUE(store_->AppendJournal(10 + i, AsBytes(records[i]), RoomFor::kUpkeep).ok());
    const std::vector<Stored> more = AppendMany(3, 100'000, 20 + i);
    stored.insert(stored.end(), more.begin(), more.end());
  }
  ExpectReadable(stored);
  for (int round = 0; round < 2; ++round) {
    for (const bool verify : {false, true}) {
      const Scanned scanned = ScanAll(verify);
      EXPECT_TRUE(scanned.damage.empty());
      ASSERT_EQ(scanned.journals.size(), records.size());
      for (size_t i = 0; i < records.size(); ++i) {
        EXPECT_EQ(scanned.journals[i].first, 10 + i);
        EXPECT_TRUE(scanned.journals[i].second == records[i]);
      }
      ExpectScanned(stored, verify);
    }
    Reopen();
  }
  const std::string too_long((64u << 20) + 1, 'x');
  EXPECT_EQ(store_->AppendJournal(99, AsBytes(too_long), RoomFor::kUpkeep).code(), Code::kInvalid);
}

TEST_P(PackStoreTest, WrongBytesAreNeverReturned) {
  const std::vector<Stored> stored = AppendMany(8, 50'000, 6);
  Reopen();
  for (const Stored& chunk : stored) {
    Overwrite(chunk.location.pack, chunk.location.offset_bytes + 64, "!");
    EXPECT_EQ(ReadOne(chunk).code(), Code::kCorrupt);
  }
  // The header's damage does not hinder a reader who knows the place.
  const Stored fresh = Append(SomeBytes(5000, 1));
  ASSERT_TRUE(store_->Sync().ok());
  Overwrite(fresh.location.pack, fresh.location.offset_bytes, "!");
  EXPECT_TRUE(ReadOne(fresh).ok());
}

TEST_P(PackStoreTest, OneBadChunkSparesTheOthers) {
  std::vector<Stored> stored = AppendMany(50, 100'000, 7);
  Reopen();
  Overwrite(stored[20].location.pack, stored[20].location.offset_bytes + 64, "!!!!");
  std::vector<std::vector<uint8_t>> out;
  std::vector<ChunkRead> reads;
  for (const Stored& chunk : stored) out.emplace_back(chunk.bytes.size());
  for (size_t i = 0; i < stored.size(); ++i) {
    reads.push_back({stored[i].id, stored[i].location, out[i], {}});
  }
  EXPECT_EQ(store_->Read(reads).code(), Code::kCorrupt);
  for (size_t i = 0; i < stored.size(); ++i) {
    EXPECT_EQ(reads[i].status.ok(), i != 20);
    EXPECT_EQ(out[i] == stored[i].bytes, i != 20);
  }
}

TEST_P(PackStoreTest, ImpossibleLocations) {
  const Stored chunk = Append(RandomBytes(10'000, 8));
  ASSERT_TRUE(store_->Sync().ok());
  const auto code = [&](auto change) {
    Stored changed = chunk;
    change(changed.location);
    return ReadOne(changed).code();
  };
  EXPECT_EQ(code([](ChunkLocation&) {}), Code::kOk);
  EXPECT_EQ(code([](ChunkLocation& l) { l.pack = 0; }), Code::kCorrupt);
  EXPECT_EQ(code([](ChunkLocation& l) { l.pack = 77; }), Code::kNotFound);
  EXPECT_EQ(code([](ChunkLocation& l) { l.offset_bytes = 0xffffffff; }), Code::kCorrupt);
  EXPECT_EQ(code([](ChunkLocation& l) { l.offset_bytes += 64; }), Code::kCorrupt);
  EXPECT_EQ(code([](ChunkLocation& l) { l.stored_bytes = 1 << 30; }), Code::kCorrupt);
  EXPECT_EQ(code([](ChunkLocation& l) { l.stored_bytes -= 1; }), Code::kCorrupt);
  EXPECT_EQ(code([](ChunkLocation& l) { l.raw_bytes = 0; }), Code::kCorrupt);
  EXPECT_EQ(code([](ChunkLocation& l) { l.encoding = Encoding::kZstd; }), Code::kCorrupt);
  EXPECT_EQ(code([](ChunkLocation& l) { l.encoding = static_cast<Encoding>(99); }), Code::kCorrupt);
}

TEST_P(PackStoreTest, ScanTellsDamageAndGoesOn) {
  const std::vector<Stored> stored = AppendMany(30, 60'000, 9);
  ASSERT_TRUE(store_->AppendJournal(1, AsBytes("journal"), RoomFor::kUpkeep).ok());
  Reopen();
  // One payload, one header.
  Overwrite(stored[5].location.pack, stored[5].location.offset_bytes + 64, "!!!!");
  Overwrite(stored[9].location.pack, stored[9].location.offset_bytes + 8, "!!!!");
  const Scanned verified = ScanAll(true);
  EXPECT_EQ(verified.damage, (std::vector<uint64_t>{stored[5].location.offset_bytes,
                                                    stored[9].location.offset_bytes}));
  EXPECT_EQ(verified.chunks.size(), stored.size() - 2);
  EXPECT_EQ(verified.journals.size(), 1u);
  // The table still names both: it does not look at payloads.
  EXPECT_EQ(ScanAll(false).chunks.size(), stored.size());
}

TEST_P(PackStoreTest, DamagedFooterMeansScanning) {
  const std::vector<Stored> stored = AppendMany(30, 60'000, 10);
  Reopen();
  const uint32_t pack = stored[0].location.pack;
  const auto size = std::filesystem::file_size(PackPath(pack));
  // The table; then the trailer too.
  Overwrite(pack, size - 4096 + 70, "!!!!");
  ExpectScanned(stored, false);
  Overwrite(pack, size - 4, "!!!!");
  ExpectScanned(stored, false);
  // The pack's own header.
  Overwrite(pack, 20, "!!!!");
  const Scanned scanned = ScanAll(false);
  EXPECT_EQ(scanned.chunks.size(), stored.size());
  EXPECT_EQ(scanned.damage, std::vector<uint64_t>{0});
}

TEST_P(PackStoreTest, DamagedFooterIsToldWhereAllIsVerified) {
  const std::vector<Stored> stored = AppendMany(30, 60'000, 10);
  Reopen();
  const uint32_t pack = stored[0].location.pack;
  const auto size = std::filesystem::file_size(PackPath(pack));
  const uint64_t table = size - 4096;
  EXPECT_TRUE(ScanAll(true).damage.empty());
  // Of the table an entry, and its header.
  for (const uint64_t offset : {uint64_t{600}, uint64_t{20}}) {
    const std::string before = ReadBytes(pack, table + offset, 4);
    Overwrite(pack, table + offset, "!!!!");
    EXPECT_EQ(ScanAll(true).damage, std::vector<uint64_t>{table});
    EXPECT_TRUE(ScanAll(false).damage.empty());
    Overwrite(pack, table + offset, before);
  }
  const std::string trailer = ReadBytes(pack, size - 64, 64);
  Overwrite(pack, size - 64, "!!!!");
  EXPECT_EQ(ScanAll(true).damage, std::vector<uint64_t>{size - 64});
  // Nothing flushed it: a power cut may leave any of its sectors out.
  Overwrite(pack, size - 64, std::string(64, '\0'));
  EXPECT_TRUE(ScanAll(true).damage.empty());
  Overwrite(pack, size - 64, trailer);
  for (const uint64_t sector : {table, table + 512}) {
    const std::string before = ReadBytes(pack, sector, 512);
    Overwrite(pack, sector, std::string(512, '\0'));
    EXPECT_TRUE(ScanAll(true).damage.empty()) << sector - table;
    Overwrite(pack, sector, before);
  }
  EXPECT_TRUE(ScanAll(true).damage.empty());
}

TEST_P(PackStoreTest, WhatHasTheNameIsVerified) {
  const std::vector<Stored> stored = AppendMany(30, 60'000, 10);
  Reopen();
  ExpectReadable(stored);
  const uint32_t pack = stored[0].location.pack;
  const auto size = std::filesystem::file_size(PackPath(pack));
  std::filesystem::rename(PackPath(pack), PackPath(pack) + ".away");
  Scanned scanned;
  EXPECT_EQ(ScanInto(pack, true, scanned).code(), Code::kNotFound);
  std::filesystem::rename(PackPath(pack) + ".away", PackPath(pack));
  ASSERT_EQ(truncate(PackPath(pack).c_str(), static_cast<off_t>(size - 5000)), 0);
  EXPECT_EQ(ScanAll(true).damage.front(), size - 5000);
}

TEST_P(PackStoreTest, AScanAsksBeforeItReads) {
  const std::vector<Stored> stored = AppendMany(30, 60'000, 10);
  Reopen();
  const uint32_t pack = stored[0].location.pack;
  uint64_t bytes = 0;
  PackStore::ScanSink sink;
  sink.before_read = [&](uint64_t more) {
    bytes += more;
    return Status();
  };
  ASSERT_TRUE(store_->Scan(pack, true, sink).ok());
  EXPECT_GE(bytes, std::filesystem::file_size(PackPath(pack)));
  uint64_t reads = 0;
  sink.before_read = [&](uint64_t) { return ++reads == 2 ? Status(Code::kBusy) : Status(); };
  EXPECT_EQ(store_->Scan(pack, true, sink).code(), Code::kBusy);
  EXPECT_EQ(reads, 2u);
}

TEST_P(PackStoreTest, TornTailIsNoDamage) {
  std::vector<Stored> durable = AppendMany(20, 60'000, 11);
  ASSERT_TRUE(store_->Sync().ok());
  const std::vector<Stored> torn = AppendMany(200, 60'000, 12);
  CrashAndReopen();
  const uint32_t pack = durable[0].location.pack;
  ExpectScanned(durable, true);
  // Cut in the middle of a record, and garbage in the place of another.
  Overwrite(pack, torn[3].location.offset_bytes + 64, "!!!!");
  ASSERT_EQ(truncate(PackPath(pack).c_str(), torn[20].location.offset_bytes + 100), 0);
  Reopen();
  const Scanned scanned = ScanAll(true);
  EXPECT_TRUE(scanned.damage.empty());
  EXPECT_EQ(scanned.chunks.size(), durable.size() + 19);
  // But what was durable before a later record was written is damage.
  Overwrite(pack, durable[4].location.offset_bytes, "!!!!");
  EXPECT_EQ(ScanAll(false).damage, std::vector<uint64_t>{durable[4].location.offset_bytes});
}

TEST_P(PackStoreTest, EmptyAndForeignFiles) {
  std::ofstream(PackPath(7)).flush();
  std::ofstream(PackPath(8)) << std::string(8192, '\0');
  std::ofstream(PackPath(9)) << std::string(8192, 'x');
  std::ofstream(folder_ + "/packs/README") << "not a pack";
  Reopen();
  EXPECT_EQ(store_->Packs(), (std::vector<uint32_t>{7, 8, 9}));
  Scanned scanned;
  EXPECT_TRUE(ScanInto(7, true, scanned).ok());
  EXPECT_TRUE(ScanInto(8, true, scanned).ok());
  EXPECT_TRUE(scanned.damage.empty());
  EXPECT_TRUE(ScanInto(9, true, scanned).ok());
  EXPECT_EQ(scanned.damage, std::vector<uint64_t>{0});
  EXPECT_EQ(ScanInto(10, true, scanned).code(), Code::kNotFound);
  EXPECT_EQ(Append(RandomBytes(10, 1)).location.pack, 10u);
}

TEST_P(PackStoreTest, LaterFormatIsRefusedByName) {
  Append(RandomBytes(1000, 1));
  Reopen();
  Overwrite(1, 8, std::string("\x02\0\0\0", 4));
  Scanned scanned;
  const Status status = ScanInto(1, false, scanned);
  EXPECT_EQ(status.code(), Code::kUnsupported);
  EXPECT_NE(status.ToString().find("version 2"), std::string::npos);
}

TEST_P(PackStoreTest, NothingAppendedLeavesNoFile) {
  ASSERT_TRUE(store_->Sync().ok());
  Reopen();
  EXPECT_TRUE(store_->Packs().empty());
  EXPECT_EQ(store_->Usage().bytes, 0u);
}

TEST_P(PackStoreTest, AContentCannotPassForARecord) {
  // A chunk whose bytes are a whole pack of this very store.
  AppendMany(5, 1000, 13);
  Reopen();
  std::ifstream file(PackPath(1), std::ios::binary);
  const std::string pack((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<uint8_t> bytes = RandomBytes(300'000, 14);
  std::copy(pack.begin(), pack.end(), bytes.begin() + 64);
  const Stored chunk = Append(bytes);
  const std::vector<Stored> after = AppendMany(2, 1000, 15);
  Reopen();
  Overwrite(chunk.location.pack, chunk.location.offset_bytes, "!!!!");
  Scanned scanned;
  ASSERT_TRUE(ScanInto(chunk.location.pack, true, scanned).ok());
  EXPECT_EQ(scanned.chunks.size(), 2u);
  EXPECT_EQ(scanned.damage.size(), 1u);
}

// From here on io_uring_setup fails with EPERM, as in many containers.
bool ForbidIoUring() {
  struct sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const struct sock_fprog program = {std::size(rules), rules};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST_P(PackStoreTest, WorksWhereIoUringIsForbidden) {
  // In a process of its own, because the filter stays for ever.
  const auto work = [this] {
    if (!ForbidIoUring()) std::exit(77);
    Reopen();
    const std::vector<Stored> stored = AppendMany(100, 200'000, 16);
    const bool synced = store_->Sync().ok();
    Reopen();
    ExpectReadable(stored);
    std::fprintf(stderr, "reason: %s\n", store_->uring_reason().c_str());
    store_.reset();
    std::exit(synced && !HasFailure() ? 0 : 1);
  };
  EXPECT_EXIT(work(), ::testing::ExitedWithCode(0),
              GetParam() ? "reason: io_uring is not available here: Operation not permitted"
                         : "reason: switched off");
}

TEST_P(PackStoreTest, ManyThreads) {
  options_.pack_bytes_target = 8 << 20;
  Reopen();
  constexpr size_t kThreads = 4;
  std::vector<std::vector<Stored>> stored(kThreads);
  std::atomic<int> failures = 0;
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Encoder encoder;
      std::mt19937_64 random(t);
      for (size_t i = 0; i < 150; ++i) {
        std::vector<uint8_t> bytes = SomeBytes(1 + random() % 300'000, t * 1000 + i);
        const ChunkId id = fingerprinter_.Name(bytes);
        const auto location = store_->Append(id, encoder.Encode(bytes), RoomFor::kContent);
        if (!location.ok()) {
          ++failures;
          return;
        }
        stored[t].push_back({id, *location, std::move(bytes)});
        if (random() % 10 == 0 && !store_->Sync().ok()) ++failures;
        std::vector<ChunkRead> reads;
        std::vector<std::vector<uint8_t>> out(8);
        for (size_t n = 0; n < out.size(); ++n) {
          const Stored& chunk = stored[t][random() % stored[t].size()];
          out[n].resize(chunk.bytes.size());
          reads.push_back({chunk.id, chunk.location, out[n], {}});
        }
        if (!store_->Read(reads, i % 3 == 0 ? ReadFrom::kPageCache : ReadFrom::kDisk).ok()) {
          ++failures;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
  for (const auto& part : stored) ExpectReadable(part);
  for (const auto& part : stored) ExpectScanned(part, true);
  Reopen();
  for (const auto& part : stored) ExpectReadable(part);
  for (const auto& part : stored) ExpectScanned(part, false);
}

}  // namespace
}  // namespace varve
