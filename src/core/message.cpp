#include "core/message.h"

#include <array>

namespace orchestra {

const char* MessageName(std::size_t index) {
  static constexpr std::array kNames = {
      "PREVOTE", "PREVOTE_OK", "PREPARE",       "PROMISE",   "ACCEPT",    "ACCEPTED",
      "NACK",    "COMMIT",     "HEARTBEAT_ACK", "LEASE_REQ", "LEASE_ACK", "RELEASE",
      "FENCE",   "FENCED",     "REQUEST",       "REPLY",     "STATUS",    "CREATE",
      "JOIN",    "RECALL",     "RECALLED",      "FEED"};
  static_assert(kNames.size() == std::variant_size_v<Message>);
  return index < kNames.size() ? kNames[index] : "UNKNOWN";
}

}  // namespace orchestra
