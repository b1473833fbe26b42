// Which contents of one signature are told from which others: a plan from their sketches.
//
// Contents of one signature are put into a line in which neighbours are near: each new one
// beside the one it is nearest to. So the steps of a run follow each other, and forks lie
// side by side. Every few places one is a *key*, told from nothing; the others are told
// from what lies between them and the nearest key, or from the key. How far apart keys are
// follows from the numbers: a key costs what a difference would have saved, and the bits of
// a difference grow by half of one with every doubling of the distance.
//
// Threads: free functions.
// Cost:    kLookBack comparisons of sketches for each content.
#pragma once

#include <vector>

#include "fs/core/keys.h"
#include "fs/core/tensor_sketch.h"

namespace varve {

struct SeriesMember {
  ContentId content = 0;
  // What it was told from when it was judged: itself, if that gained nothing; 0: not judged.
  ContentId base = 0;
  Sketch sketch;
};

struct SeriesStep {
  ContentId content = 0;
  std::vector<ContentId> bases;  // to be tried in this order
  // The last of its run that was made, which is what is read most.
  bool newest = false;
};

// What is to be done, in this order: bases come first. `members` are of one signature, in
// the order of their making, and have sketches of one length. Without `eager` a run waits
// for its first key until it is long enough to choose a good one.
std::vector<SeriesStep> PlanSeries(const std::vector<SeriesMember>& members, bool eager);

}  // namespace varve
