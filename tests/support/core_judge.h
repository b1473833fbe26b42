// Says whether what a store shows is what it may show, now or after a crash.
//
//   kNow           equal in everything
//   kProcessDeath  the same, but what was open for writing may have been captured
//   kPowerCut      names and attributes equal; each file shows its newest durable
//                  content, or, without one, is empty, torn and not complete; every
//                  version that was promised is there, every version that is there
//                  has its bytes
//
// A content that was synced and then changed in place may after a power cut have, of
// each byte, any value since then: that is what a disk does.
//
// Threads: free functions.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/support/core_dump.h"
#include "tests/support/core_model.h"

namespace varve::testing {

// What is known of a content beyond the rows that name it.
struct ContentFacts {
  bool stored = false;
  bool promised = false;    // it survives a power cut
  bool torn = false;        // an earlier one took it
  int64_t captured_ns = 0;  // in this life
  ContentId base = 0;
  ContentId replaced = 0;  // by a rename, which may be lost
  // Its bytes, oldest first: since it was promised, or all of them. Never empty.
  std::vector<BytesPointer> states;
};
using Contents = std::map<ContentId, ContentFacts>;

enum class Moment { kNow, kProcessDeath, kPowerCut };

struct Expected {
  const Model& model;
  const Contents& contents;
  Moment moment = Moment::kNow;
  // The sizes of what could not be captured any more are known after the next mount.
  bool fenced = false;
  // Written and not closed: the newest version of it may be ahead.
  std::set<InodeNumber> unsettled = {};
  // A change of them failed half done: their size is known when they are opened.
  std::set<InodeNumber> half_done = {};
  // Went on under a writer after a name that lists it was lost: neither the bytes at
  // its capture nor the last ones are promised under that name. Or changed half done.
  std::set<ContentId> drifting = {};
  // In the middle of an operation: each byte may be of any of these.
  std::map<InodeNumber, std::vector<BytesPointer>> torn_between = {};
};

// The first difference, "" if there is none.
std::string FindDifference(const Dump& dump, const Expected& expected);

// For messages: the size and a sum.
std::string Describe(const std::string& bytes);

// True if each byte of `bytes` is that of one of `states`, zeros beyond their ends.
bool IsMixOf(const std::string& bytes, const std::vector<BytesPointer>& states);

}  // namespace varve::testing
