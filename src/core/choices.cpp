#include "core/choices.h"

#include <type_traits>

#include "core/fields.h"

namespace orchestra {

const char* NameOf(Mode mode) {
  switch (mode) {
    case Mode::kAutomatic:
      return "automatic";
    case Mode::kManual:
      return "manual";
    case Mode::kObserve:
      return "observe";
  }
  return "unknown";
}

const char* NameOf(Durability durability) {
  return durability == Durability::kAsync ? "async" : "quorum";
}

const char* NameOf(OnNoSync action) { return action == OnNoSync::kDegrade ? "degrade" : "refuse"; }

const char* NameOf(SyncZone zone) { return zone == SyncZone::kOther ? "other" : "any"; }

template <class E>
std::optional<E> ChoiceOf(std::string_view name) {
  using Number = std::underlying_type_t<E>;
  for (Number number = 0; number <= static_cast<Number>(LastOf(E{})); number++)
    if (name == NameOf(static_cast<E>(number))) return static_cast<E>(number);
  return std::nullopt;
}

template std::optional<Mode> ChoiceOf(std::string_view name);
template std::optional<Durability> ChoiceOf(std::string_view name);
template std::optional<OnNoSync> ChoiceOf(std::string_view name);
template std::optional<SyncZone> ChoiceOf(std::string_view name);

}  // namespace orchestra
