// Reading back what ToText printed.
#pragma once
#include <optional>
#include <string_view>

#include "core/types.h"

namespace orchestra {

// "4.2/17"; nothing else, no blanks, no signs.
std::optional<EpochId> EpochFromText(std::string_view text);

}  // namespace orchestra
