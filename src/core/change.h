// What a Change makes of the register (rules 5 vii, 6 and 7). Pure, so that every row is a unit
// test; the coordinator proposes the outcome.
#pragma once
#include <string>
#include <variant>

#include "core/message.h"
#include "core/register.h"

namespace orchestra {

struct Refusal {
  Verdict verdict = Verdict::kRefused;
  std::string reason;
};

// The register after `request` by the member `from`, one version on; equal to `value` when it says
// so already. StartFailover changes nothing by itself. A change that only the primary may ask for
// is compared with the version and the start of the primary that the register knows.
std::variant<RegisterValue, Refusal> Changed(const RegisterValue& value, NodeId from,
                                             const Request& request);

// "voters n1, n2, n3", for logs.
std::string TextOf(const RegisterValue& value, const Change& change);

// False: `next` is only a step on the way to `change`, which is to be asked for again. (Who loses
// its vote is first counted for commits no more.)
bool IsWhole(const RegisterValue& next, const Change& change);

// True for what only the primary may ask.
bool IsPrimarysOwn(const Change& change);

}  // namespace orchestra
