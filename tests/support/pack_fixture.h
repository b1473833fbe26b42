// A pack store in a directory of this machine, chunks for it, and what can be asked of it.
//
// Threads: one, but what a test starts itself.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "store/base/posix_disk.h"
#include "store/pack/pack_store.h"
#include "tests/support/temp_dir.h"

namespace varve::testing {

inline std::vector<uint8_t> RandomBytes(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

// Every second one compresses.
inline std::vector<uint8_t> SomeBytes(size_t size, uint64_t seed) {
  if (seed % 2 == 0) return RandomBytes(size, seed);
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(seed + i / 97);
  return bytes;
}

struct Stored {
  ChunkId id;
  ChunkLocation location;
  std::vector<uint8_t> bytes;
};

struct Scanned {
  std::map<ChunkId, ChunkLocation> chunks;
  std::vector<std::pair<uint64_t, std::string>> journals;
  std::vector<uint64_t> damage;
};

class PackFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    auto disk = PosixDisk::Open(folder_);
    ASSERT_TRUE(disk.ok());
    disk_ = std::move(disk).value();
    Reopen();
  }

  void Reopen() {
    store_.reset();
    auto store = OpenPackStore(*disk_, "packs", fingerprinter_, options_);
    ASSERT_TRUE(store.ok()) << store.status().ToString();
    store_ = std::move(store).value();
  }

  Stored Append(std::vector<uint8_t> bytes) {
    const ChunkId id = fingerprinter_.Name(bytes);
    auto location = store_->Append(id, encoder_.Encode(bytes), RoomFor::kContent);
    EXPECT_TRUE(location.ok()) << location.status().ToString();
    return {id, location.ok() ? *location : ChunkLocation{}, std::move(bytes)};
  }

  std::vector<Stored> AppendMany(size_t count, size_t size_max, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<Stored> stored;
    for (size_t i = 0; i < count; ++i) {
      stored.push_back(Append(SomeBytes(1 + random() % size_max, seed * 1000 + i)));
    }
    return stored;
  }

  void ExpectReadable(const std::vector<Stored>& stored, ReadFrom from = ReadFrom::kDisk) {
    std::vector<std::vector<uint8_t>> out;
    std::vector<ChunkRead> reads;
    for (const Stored& chunk : stored) out.emplace_back(chunk.bytes.size());
    for (size_t i = 0; i < stored.size(); ++i) {
      reads.push_back({stored[i].id, stored[i].location, out[i], Status(Code::kBusy)});
    }
    const Status status = store_->Read(reads, from);
    EXPECT_TRUE(status.ok()) << status.ToString();
    for (size_t i = 0; i < stored.size(); ++i) {
      EXPECT_TRUE(reads[i].status.ok()) << reads[i].status.ToString();
      EXPECT_TRUE(out[i] == stored[i].bytes) << "chunk " << i;
    }
  }

  Status ReadOne(const Stored& chunk) {
    std::vector<uint8_t> out(chunk.location.raw_bytes);
    ChunkRead read = {chunk.id, chunk.location, out, {}};
    return store_->Read({&read, 1});
  }

  Status ScanInto(uint32_t pack, bool verify, Scanned& scanned) {
    PackStore::ScanSink sink;
    sink.on_chunk = [&](const ChunkId& id, const ChunkLocation& location) {
      scanned.chunks[id] = location;
    };
    sink.on_journal = [&](uint64_t sequence, ByteView record) {
      scanned.journals.emplace_back(sequence, AsText(record));
    };
    sink.on_damage = [&](uint64_t offset, const std::string&) { scanned.damage.push_back(offset); };
    return store_->Scan(pack, verify, sink);
  }

  Scanned ScanAll(bool verify) {
    Scanned scanned;
    for (const uint32_t pack : store_->Packs()) {
      const Status status = ScanInto(pack, verify, scanned);
      EXPECT_TRUE(status.ok()) << status.ToString();
    }
    return scanned;
  }

  void ExpectScanned(const std::vector<Stored>& stored, bool verify) {
    const Scanned scanned = ScanAll(verify);
    EXPECT_TRUE(scanned.damage.empty());
    for (const Stored& chunk : stored) {
      const auto found = scanned.chunks.find(chunk.id);
      ASSERT_NE(found, scanned.chunks.end());
      EXPECT_EQ(found->second, chunk.location);
    }
  }

  std::string PackPath(uint32_t pack) const {
    char name[32];
    std::snprintf(name, sizeof(name), "/packs/%08x.pack", pack);
    return folder_ + name;
  }

  void Overwrite(uint32_t pack, uint64_t offset, const std::string& bytes) {
    std::fstream file(PackPath(pack), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset));
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    ASSERT_TRUE(file.good());
  }

  std::string ReadBytes(uint32_t pack, uint64_t offset, size_t size) const {
    std::string bytes(size, '\0');
    std::ifstream file(PackPath(pack), std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    file.read(bytes.data(), static_cast<std::streamsize>(size));
    EXPECT_TRUE(file.good());
    return bytes;
  }

  // The pack as a crash would leave it: a copy made while it is open, in a new store.
  void CrashAndReopen() {
    const std::string copy = folder_ + "/copy";
    std::filesystem::create_directory(copy);
    std::filesystem::copy(folder_ + "/packs", copy, std::filesystem::copy_options::recursive);
    store_.reset();
    std::filesystem::remove_all(folder_ + "/packs");
    std::filesystem::rename(copy, folder_ + "/packs");
    Reopen();
  }

  const TempDir directory_;
  const std::string folder_ = directory_.path();
  std::unique_ptr<PosixDisk> disk_;
  const Fingerprinter fingerprinter_{std::string(Fingerprinter::kSecretBytes, 's')};
  Encoder encoder_;
  PackStoreOptions options_;
  std::unique_ptr<PackStore> store_;
};

}  // namespace varve::testing
