// The names of the register's choices, as SQL takes and shows them and as logs print them.
#pragma once
#include <optional>
#include <string_view>

#include "core/register.h"

namespace orchestra {

const char* NameOf(Mode mode);              // "observe", "manual", "automatic"
const char* NameOf(Durability durability);  // "quorum", "async"
const char* NameOf(OnNoSync action);        // "refuse", "degrade"
const char* NameOf(SyncZone zone);          // "any", "other"

// The choice that is called exactly so. Of the four types above.
template <class E>
std::optional<E> ChoiceOf(std::string_view name);

}  // namespace orchestra
