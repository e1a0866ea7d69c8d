-- The libraries cjson and bit of Redis, as far as the proxy has them. A runtime keeps what they set for one script.

local python = ...

local error, floor, format, gsub, next, tostring, type =
  error, math.floor, string.format, string.gsub, next, tostring, type
local byte, concat, huge, select = string.byte, table.concat, math.huge, select
local bits, decode_json = python.bits, python.decode_json

-- cjson -----------------------------------------------------------------------------------------------------------

local null = newproxy()
local DEEPEST, RATIO, ALWAYS = 1000, 2, 10

local ESCAPES = {
  ['"'] = '\\"', ["\\"] = "\\\\", ["/"] = "\\/", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r",
  ["\t"] = "\\t",
}
local function escaped(character) return ESCAPES[character] or format("\\u%04x", byte(character)) end
local function quoted(text) return '"' .. gsub(text, '[%z\1-\31"\\/\127]', escaped) .. '"' end

local function refused(kind, why) error("Cannot serialise " .. kind .. ": " .. why, 0) end

local function number(value)
  if value ~= value or value == huge or value == -huge then refused("number", "must not be NaN or Inf") end
  return format("%.14g", value)
end

-- How long an array is; nil if a table is none.
local function length(value)
  local longest, count = 0, 0
  for key in next, value do
    if type(key) ~= "number" or key < 1 or floor(key) ~= key then return nil end
    if key > longest then longest = key end
    count = count + 1
  end
  if longest > count * RATIO and longest > ALWAYS then refused("table", "excessively sparse array") end
  return longest > 0 and longest or nil
end

local function encode(pieces, value, depth)
  local kind = type(value)
  if value == null or value == nil then
    pieces[#pieces + 1] = "null"
  elseif kind == "string" then
    pieces[#pieces + 1] = quoted(value)
  elseif kind == "number" then
    pieces[#pieces + 1] = number(value)
  elseif kind == "boolean" then
    pieces[#pieces + 1] = tostring(value)
  elseif kind ~= "table" then
    refused(kind, "type not supported")
  else
    if depth > DEEPEST then error("Cannot serialise, excessive nesting (" .. depth .. ")", 0) end
    local longest = length(value)
    local comma = ""
    pieces[#pieces + 1] = longest and "[" or "{"
    for at = 1, longest or 0 do
      pieces[#pieces + 1] = comma
      encode(pieces, value[at], depth + 1)
      comma = ","
    end
    if not longest then
      for key, item in next, value do
        if type(key) ~= "string" and type(key) ~= "number" then
          refused(type(key), "table key must be a number or string")
        end
        pieces[#pieces + 1] = comma .. (type(key) == "string" and quoted(key) or '"' .. number(key) .. '"') .. ":"
        encode(pieces, item, depth + 1)
        comma = ","
      end
    end
    pieces[#pieces + 1] = longest and "]" or "}"
  end
end

local cjson = { null = null, _NAME = "cjson", _VERSION = "2.1.0" }

function cjson.encode(...)
  if select("#", ...) ~= 1 then error("bad argument #1 to 'encode' (expected 1 argument)", 2) end
  local pieces = {}
  local done, problem = pcall(encode, pieces, (...), 1)
  if not done then error(problem, 2) end
  return concat(pieces)
end

function cjson.decode(text)
  if type(text) ~= "string" and type(text) ~= "number" then
    error("bad argument #1 to 'decode' (string expected, got " .. type(text) .. ")", 2)
  end
  local read, value = decode_json(tostring(text))
  if not read then error(value, 2) end
  return value
end

-- bit -------------------------------------------------------------------------------------------------------------

local bit = {}

for name, least in next, python.bits_take do
  bit[name] = function(...)
    local count = select("#", ...)
    for at = 1, count < least and least or count do
      local given = at > count and "no value" or type((select(at, ...)))
      if given ~= "number" then
        error("bad argument #" .. at .. " to '" .. name .. "' (number expected, got " .. given .. ")", 2)
      end
    end
    return bits(name, ...)
  end
end

function bit.tohex(value, digits)
  if type(value) ~= "number" then error("bad argument #1 to 'tohex' (number expected, got " .. type(value) .. ")", 2) end
  digits = type(digits) == "number" and digits or 8
  local shape = digits < 0 and "%08X" or "%08x"
  local wanted = digits < 0 and -digits or digits
  return format(shape, bits("tobit", value) % 2 ^ 32):sub(wanted < 8 and -wanted or -8)
end

return cjson, bit
