#include "core/codec.h"

#include <array>

namespace orchestra {
namespace {

// Bitwise reflected form of the polynomial of G. Castagnoli et al., "Optimization of Cyclic
// Redundancy-Check Codes with 24 and 32 Parity Bits", IEEE Trans. Commun. 41 (1993).
constexpr std::uint32_t kPolynomial = 0x82F63B78;

constexpr std::array<std::uint32_t, 256> MakeTable() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); i++) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ ((crc & 1) != 0 ? kPolynomial : 0);
    table[i] = crc;
  }
  return table;
}
constexpr auto kTable = MakeTable();

constexpr std::size_t kCrcBytes = sizeof(std::uint32_t);

}  // namespace

std::uint32_t Crc32c(std::string_view bytes) {
  std::uint32_t crc = ~std::uint32_t{0};
  for (const char c : bytes) crc = crc >> 8 ^ kTable[(crc ^ static_cast<unsigned char>(c)) & 0xFF];
  return ~crc;
}

std::string_view Cut(std::string_view text, std::size_t max) {
  if (text.size() <= max) return text;
  auto continues = [&](std::size_t at) {
    return (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
  };
  std::size_t end = max;
  while (end > 0 && max - end < 3 && continues(end)) end--;
  return text.substr(0, continues(end) ? max : end);
}

std::string Seal(std::string bytes) {
  const std::uint32_t crc = Crc32c(bytes);
  Writer out;
  out(crc);
  return std::move(bytes) + out.bytes();
}

std::optional<std::string_view> Unseal(std::string_view sealed) {
  if (sealed.size() < kCrcBytes) return std::nullopt;
  const std::string_view bytes = sealed.substr(0, sealed.size() - kCrcBytes);
  const auto crc = Decode<std::uint32_t>(sealed.substr(bytes.size()));
  if (!crc || *crc != Crc32c(bytes)) return std::nullopt;
  return bytes;
}

}  // namespace orchestra
