// How much memory and how many descriptors the pack store takes. None of this is
// on disk.
//
// Units: bytes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "store/pack/pack_format.h"

namespace varve {

// Appends are collected in kWriteBuffers buffers and go to disk in writes of at
// least kWriteBytes.
inline constexpr size_t kWriteBuffers = 4;
inline constexpr size_t kWriteBufferBytes = 4u << 20;
inline constexpr size_t kWriteBytes = 1u << 20;
inline constexpr unsigned kWritesInFlightMax = 32;
// Pack files are allocated ahead of what is appended in such steps.
inline constexpr uint64_t kAllocateBytes = 16u << 20;
// Full packs that await their seal before an append waits for them.
inline constexpr size_t kFullPacksMax = 4;

// Each of at most kReadLanes concurrent batches of reads has kReadsInFlight
// buffers; kIdleLanesMax of them are kept when nobody reads. Neighbouring chunks
// are read together up to one buffer.
inline constexpr size_t kReadLanes = 4;
inline constexpr size_t kIdleLanesMax = 2;
inline constexpr size_t kReadsInFlight = 8;
inline constexpr size_t kReadBytes = 2u << 20;
// Reading a gap of this size is cheaper than a second read.
inline constexpr uint64_t kReadGapBytes = 64u << 10;
inline constexpr size_t kDecodeThreadsMax = 3;

inline constexpr size_t kOpenPacksMax = 64;
inline constexpr size_t kScanBytes = 4u << 20;

static_assert(kWriteBufferBytes >= kHeaderBytes + kChunkBytesMax + 2 * kBlockBytes);
static_assert(kReadBytes >= kHeaderBytes + kChunkBytesMax + 2 * kBlockBytes);

}  // namespace varve
