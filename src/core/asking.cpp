// Requests to the register: the primary's own (rule 6: compare-and-set, one at a time, never
// abandoned) and an operator's commands.
#include <utility>

#include "core/change.h"
#include "core/machine.h"

namespace orchestra {
namespace {

constexpr std::uint64_t kOwn = std::uint64_t{1} << 63;  // ids that no command has

}  // namespace

void Machine::SendRequest(Asking& asking, Version base) {
  if (!asking.asked_at) asking.epoch = CommittedValue(s_)->epoch;
  asking.asked_at = now_;
  const NodeId coordinator = s_.coordinator == kNoNode ? Me() : s_.coordinator;
  Send(coordinator, Request{asking.id, asking.epoch, base, s_.durable.boot_count, asking.change,
                            s_.heartbeat_newest.first, s_.heartbeat_newest.second});
}

// ---------------------------------------------------------------- the primary's own

void Machine::Ask(Change change) {
  Asking asking;
  asking.id = kOwn | ++s_.request_ids;
  asking.change = std::move(change);
  asking.since = now_;
  asking.base = CommittedValue(s_)->version;
  s_.request = std::move(asking);
  AskTick();
}

void Machine::AskTick() {
  if (!s_.request) return;
  const Timers t = T();
  Asking& asking = *s_.request;
  if (asking.asked_at && Since(now_, *asking.asked_at) < t.request_retry) return;
  SendRequest(asking, asking.base);
  // Rule 1: a lease holder whose request goes unanswered may campaign, and again if that was lost:
  // a candidate that hears the coordinator's heartbeat starts no ordinary campaign.
  if (s_.request && Since(now_, s_.request->since) > 2 * t.heartbeat &&
      s_.role != Role::kCoordinator && AmVoter() && HoldsLease(s_, now_, policy_)) {
    s_.request->since = now_ + t.election_max;
    Campaign(true);
  }
}

// ---------------------------------------------------------------- an operator's

void Machine::OnCommand(const Command& command) {
  s_.answer.reset();
  Asking asking;
  asking.id = command.id;
  asking.change = command.change;
  asking.until = now_ + command.patience;
  s_.command = std::move(asking);
  if (!Configured())
    return Answered(command.id, false, "this node belongs to no cluster that takes its requests");
  if (IsPrimarysOwn(command.change))
    return Answered(command.id, false, "only the primary itself asks for that");
  CommandTick();
}

void Machine::CommandTick() {
  if (!s_.command) return;
  Asking& asking = *s_.command;
  if (!BeforeOnEveryClock(now_, asking.until))
    return Answered(asking.id, false,
                    !asking.held_up.empty() ? asking.held_up
                    : s_.coordinator == kNoNode
                        ? "no coordinator is known"
                        : "the coordinator, " + Name(s_.coordinator) + ", did not answer in time");
  if (!Configured() || s_.suspect || !CommittedValue(s_)) return;
  if (asking.asked_at && Since(now_, *asking.asked_at) < T().request_retry) return;
  SendRequest(asking, CommittedValue(s_)->version);
}

void Machine::Answered(std::uint64_t id, bool done, std::string text) {
  s_.answer = CommandAnswer{id, done, std::move(text)};
  s_.command.reset();
}

void Machine::On(NodeId, const Reply& m) {
  if (!Configured()) return;
  Learn(m.committed);
  // A refused request stands: a copy of it may still be on its way to another coordinator.
  if (s_.request && m.id == s_.request->id) s_.request->since = now_;
  if (!s_.command || m.id != s_.command->id) return;
  if (m.verdict == Verdict::kMoved)
    s_.command->held_up = m.reason;
  else
    Answered(m.id, m.verdict == Verdict::kDone, m.reason);
}

}  // namespace orchestra
