#include "store/format/completeness.h"

namespace varve {

Result<Completeness> CheckCompleteness(ByteSource& source) {
  for (const auto check : {CheckSafetensors, CheckDistcp, CheckTorchZip}) {
    ASSIGN_OR_RETURN(const std::optional<Completeness> recognised, check(source));
    if (recognised) return *recognised;
  }
  return Completeness();
}

}  // namespace varve
