// Messages and values out of a fuzzer's bytes: one more visitor of the field lists
// (core/fields.h), so that a new message or field is fuzzed without a line here. What a node
// compares with what it knows is mostly drawn from what it knows.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/change.h"
#include "core/consensus.h"
#include "core/fields.h"
#include "fuzz/input.h"
#include "unit/consensus_node.h"

namespace orchestra::fuzz {

inline constexpr std::uint16_t kNodes = 5;  // ids that are drawn: members, and others

class Maker {
 public:
  Maker(Input& in, const State& state) : in_(in), s_(state) {}

  template <class T>
  T Make() {
    T value{};
    (*this)(value);
    return value;
  }
  template <class... T>
  void Choice(std::variant<T...>& v) {
    Emplace(v, in_.Choose(sizeof...(T)), std::index_sequence_for<T...>{});
  }

  void operator()(bool& v) { v = in_.Byte() % 2 != 0; }
  void operator()(std::uint16_t& v) { v = in_.Byte(); }
  template <std::integral T>
  void operator()(T& v) {
    const std::uint64_t known[] = {0,
                                   in_.Byte(),
                                   s_.heartbeat_seq,
                                   s_.request_seq,
                                   s_.nonces_issued.empty() ? 0 : s_.nonces_issued.back().first,
                                   s_.durable.max_ttl_granted_ms};
    const std::size_t which = in_.Choose(std::size(known) + 2);
    v = which < std::size(known) ? static_cast<T>(known[which]) : in_.Take<T>();
  }
  template <class Rep, class Period>
  void operator()(std::chrono::duration<Rep, Period>& v) {
    v = std::chrono::duration<Rep, Period>(in_.Take<std::uint32_t>());
  }
  void operator()(NodeId& v) { v = NodeId{static_cast<std::uint16_t>(in_.Choose(kNodes + 1))}; }
  void operator()(BootCount& v) { v.value = s_.durable.boot_count.value + in_.Choose(3) - 1; }
  void operator()(Incarnation& v) { v.value = in_.Choose(kNodes + 1); }
  void operator()(ClusterId& v) { v = in_.Choose(4) == 0 ? ClusterId{in_.Byte()} : hand::kCluster; }
  void operator()(Ballot& v) {
    const Ballot promised = s_.durable.promised;
    const Ballot known[] = {s_.ballot, promised, Newest().write.ballot, s_.heartbeat_newest.first,
                            Ballot{}};
    const std::size_t which = in_.Choose(std::size(known) + 2);
    if (which < std::size(known))
      v = known[which];
    else
      v = {promised.round + in_.Choose(4), Make<NodeId>()};
  }
  void operator()(Version& v) {
    v.value = Newest().value->version.value + in_.Choose(4);
    if (v.value > 0) v.value--;
  }
  void operator()(EpochId& v) {
    const EpochId known[] = {Newest().value->epoch, s_.durable.fenced, s_.durable.wal_epoch,
                             s_.newest_epoch_seen, EpochId{}};
    const std::size_t which = in_.Choose(std::size(known) + 1);
    v = which < std::size(known) ? known[which] : EpochId{WriteId{Make<Ballot>(), Make<Version>()}};
  }
  // A write that the node knows, or a later one that might have been.
  void operator()(Written& v) {
    const std::optional<Written>* known[] = {&s_.durable.accepted, &s_.durable.committed,
                                             &s_.proposal};
    const std::size_t which = in_.Choose(std::size(known) + 3);
    v = which < std::size(known) && *known[which] ? **known[which] : Later();
  }
  void operator()(std::shared_ptr<const RegisterValue>& v) { v = Later().value; }
  template <class T>
  void operator()(std::optional<T>& v) {
    v.reset();
    if (Make<bool>()) (*this)(v.emplace());
  }
  template <class T>
  requires std::is_class_v<T>
  void operator()(T& v) { Fields(*this, v); }
  template <class E>
  requires std::is_enum_v<E>
  void operator()(E& v) { Enum(v, LastOf(v)); }
  template <class E>
  void Enum(E& v, E last) {
    v = static_cast<E>(in_.Choose(static_cast<std::size_t>(last) + 1));
  }
  void Name(std::string& v, std::size_t max) {
    const std::size_t which = in_.Choose(kNodes + 2);
    v = which <= kNodes ? "n" + std::to_string(which) : std::string(in_.Chunk().substr(0, max));
  }
  void Text(std::string& v, std::size_t max) { v = in_.Chunk().substr(0, max); }
  template <class T>
  void List(std::vector<T>& v, std::size_t max) {
    v.clear();
    for (std::size_t left = std::min(in_.Choose(6), max); left > 0; left--)
      (*this)(v.emplace_back());
  }
  template <class Holds>
  void Check(Holds /*holds*/) {}  // only of a register, which Later makes

 private:
  template <class Variant, std::size_t... I>
  void Emplace(Variant& v, std::size_t index, std::index_sequence<I...>) {
    (void)((index == I && ((*this)(v.template emplace<I>()), true)) || ...);
  }
  Written Newest() const {
    if (s_.proposal) return *s_.proposal;
    if (s_.durable.accepted) return *s_.durable.accepted;
    if (s_.durable.committed) return *s_.durable.committed;
    return hand::WriteOf(hand::FirstValue(), Ballot{1, NodeId{1}});
  }
  Written Later() {
    const Written newest = Newest();
    RegisterValue value = *newest.value;
    const Ballot ballot = Make<Ballot>();
    const std::size_t how = in_.Choose(4);
    if (how == 0) value = hand::NextEpoch(value, Make<NodeId>().value, ballot);
    if (how == 1 && !value.active) value = hand::Activated(value, in_.Byte());
    if (how == 2) Ask(value);
    if (how == 3 && !value.members.empty())
      (*this)(value.members[in_.Choose(value.members.size())]);
    if (!Validate(value).empty()) value = *newest.value;
    return hand::WriteOf(value, ballot);
  }
  void Ask(RegisterValue& value) {
    Request request;
    request.epoch = value.epoch;
    request.base = value.version;
    request.boot = value.primary_boot;
    Choice(request.change);
    auto next = Changed(value, value.primary, request);
    if (auto* changed = std::get_if<RegisterValue>(&next)) value = std::move(*changed);
  }

  Input& in_;
  const State& s_;
};

}  // namespace orchestra::fuzz
