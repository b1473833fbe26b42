// Python pickles as trees of values. Nothing is executed: what a pickle would call is a
// value of its own, with what it would be called with.
//
// Protocols 0 to 5, without out-of-band buffers and registered extensions.
//
// Source: https://docs.python.org/3/library/pickletools.html and the module's opcode table.
//
// Threads: values.
// Errors:  Parse() fails with kCorrupt on what is no pickle, and kInvalid when it has more
//          than kValuesMax values.
// Memory:  about 64 bytes for each value; texts are views of the pickle itself.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "store/base/bytes.h"
#include "store/base/result.h"

namespace varve {

class Pickle {
 public:
  // The place of a value. Values may be reached in many ways, and from themselves.
  using Ref = uint32_t;
  static constexpr size_t kValuesMax = 1u << 19;

  enum class Kind : uint8_t {
    kNone,
    kBool,        // integer is 0 or 1
    kInteger,     // of more than 64 bits: kOther
    kFloat,       // number
    kText,        // text, unescaped only where protocol 0 needs no escapes
    kBytes,       // text
    kTuple,       // children
    kList,        // children; sets, too
    kDict,        // children: key, value, key, value, …; OrderedDict too
    kGlobal,      // module text, name: text
    kPersistent,  // child 0: the id
    kCall,        // child 0 what is called, child 1 with what, child 2 the state given to it
    kOther,
  };
  struct Value {
    Kind kind = Kind::kOther;
    union {
      int64_t integer = 0;
      double number;
    };
    std::string_view text;
    std::string_view module;
    std::vector<Ref> children;
  };

  // `bytes` outlive the pickle.
  static Result<Pickle> Parse(ByteView bytes);

  const Value& operator[](Ref ref) const { return values_[ref]; }
  Ref root() const { return root_; }
  // Whether `ref` is the global `module`.`name`.
  bool IsGlobal(Ref ref, std::string_view module, std::string_view name) const;

 private:
  friend class PickleMachine;
  std::vector<Value> values_;
  Ref root_ = 0;
};

}  // namespace varve
