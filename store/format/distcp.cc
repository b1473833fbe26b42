// The .distcp files of torch.distributed.checkpoint: what torch.save writes for each tensor and
// object of a rank, one zip behind the other. Which tensor each is, .metadata says, another file;
// here they are named by their numbers in the file.
//
// Source: https://pytorch.org/docs/stable/distributed.checkpoint.html (FileSystemWriter)
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "store/format/completeness.h"
#include "store/format/map_builder.h"
#include "store/format/tensor_map.h"
#include "store/format/zip.h"

namespace varve {
namespace {

// Where the last zip of a file begins, if that is not the file's beginning: only from its end can
// a zip be found, whose offsets count from its own beginning.
Result<std::optional<uint64_t>> BeginOfLast(ByteSource& source) {
  using Found = std::optional<uint64_t>;
  ASSIGN_OR_RETURN(const std::optional<std::string> first, FirstZipName(source));
  if (!first) return Found();
  ASSIGN_OR_RETURN(const Found begin, FindZipBegin(source));
  if (!begin || *begin == 0) return Found();
  SliceSource last(source, *begin, source.size_bytes());
  ASSIGN_OR_RETURN(const std::optional<std::string> name, FirstZipName(last));
  return name ? begin : Found();
}

// All of them, in order; notes where there are more that cannot be found.
Result<std::vector<ZipRange>> FindZips(ByteSource& source, uint64_t last_begin,
                                       MapBuilder* builder) {
  std::vector<ZipRange> zips{{last_begin, source.size_bytes()}};
  while (zips.back().begin_bytes > 0) {
    const uint64_t end = zips.back().begin_bytes;
    SliceSource before(source, 0, end);
    ASSIGN_OR_RETURN(const std::optional<uint64_t> begin, FindZipBegin(before));
    if (!begin || *begin >= end || zips.size() == kTensorsMax) {
      builder->Note("there is something else between its zips");
      break;
    }
    zips.push_back({*begin, end});
  }
  std::reverse(zips.begin(), zips.end());
  return zips;
}

}  // namespace

Result<std::optional<Completeness>> CheckDistcp(ByteSource& source) {
  ASSIGN_OR_RETURN(const std::optional<uint64_t> begin, BeginOfLast(source));
  if (!begin) return std::optional<Completeness>();
  SliceSource last(source, *begin, source.size_bytes());
  ASSIGN_OR_RETURN(std::optional<Completeness> verdict, CheckTorchZip(last));
  if (verdict) verdict->format = ContentFormat::kDistcp;
  return verdict;
}

Result<std::optional<TensorMap>> ReadDistcpMap(ByteSource& source) {
  ASSIGN_OR_RETURN(const std::optional<uint64_t> last, BeginOfLast(source));
  if (!last) return std::optional<TensorMap>();
  MapBuilder builder(ContentFormat::kDistcp, source.size_bytes());
  ASSIGN_OR_RETURN(const std::vector<ZipRange> zips, FindZips(source, *last, &builder));
  for (size_t i = 0; i < zips.size() && !builder.failed(); ++i) {
    SliceSource zip(source, zips[i].begin_bytes, zips[i].end_bytes);
    ASSIGN_OR_RETURN(std::optional<TensorMap> map, ReadTorchZipMap(zip));
    if (!map) continue;
    if (!map->problem.empty()) builder.Note(map->problem);
    for (Tensor& tensor : map->tensors) {
      tensor.name = std::to_string(i) + (tensor.name.empty() ? "" : "." + tensor.name);
      tensor.begin_bytes += zips[i].begin_bytes;
      tensor.end_bytes += zips[i].begin_bytes;
      builder.Add(std::move(tensor));
    }
  }
  return std::optional<TensorMap>(builder.Finish());
}

}  // namespace varve
