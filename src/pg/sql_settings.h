// The cluster's settings as SQL arguments: creation and orchestra_set() take the same values.
#pragma once
#include <cstdint>
#include <string>

#include "core/register.h"
#include "core/types.h"

namespace orchestra::pg {

// Each raises 22023, with the values there are as hint, when `text` is none of them.
Mode ModeArgument(const std::string& text);
Durability DurabilityArgument(const std::string& text);
std::uint32_t LeaseArgument(std::int64_t milliseconds);

// Changes the mode and waits until the register of this node says so; when mode observe ends on the
// primary, until commits are let in, too. Mode observe ends only while the primary of the register,
// and nobody else that is heard, is out of recovery.
void ChangeMode(Mode mode, Micros deadline);

}  // namespace orchestra::pg
