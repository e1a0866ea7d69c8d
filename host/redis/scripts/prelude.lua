-- What stands around a script: the names that it may use, redis.call, and its value as a reply.
--
-- A runtime runs one script and is thrown away. So a script can break nothing but its own run, and what stands here
-- keeps its own references to the functions that it uses after the script.

local python, limit, cjson, bit = ...

local assert, error, getmetatable, ipairs, next, pairs, rawequal, rawget, rawset, select, setmetatable, tonumber, tostring, type, unpack, xpcall =
  assert, error, getmetatable, ipairs, next, pairs, rawequal, rawget, rawset, select, setmetatable, tonumber, tostring, type, unpack, xpcall
local loadstring, pcall, setfenv = loadstring, pcall, setfenv
local getinfo, sethook = debug.getinfo, debug.sethook
local concat, floor, format, gsub = table.concat, math.floor, string.format, string.gsub
local ask, over, draw, seed, sha1hex = python.ask, python.over, python.draw, python.seed, python.sha1hex

-- Ends a script, whatever it catches: from now on each of its steps is an error, so that all its functions return.
local function stop() error("ended", 0) end
local function finish() sethook(stop, "", 1) error("ended", 0) end

-- redis -----------------------------------------------------------------------------------------------------------

local function perform(protected, ...)
  local kind, value
  local count = select("#", ...)
  if count == 0 then
    kind, value = "error", "ERR Please specify at least one argument for this redis lib call"
  end
  for at = 1, count do
    local given = type((select(at, ...)))
    if given ~= "string" and given ~= "number" then
      kind, value = "error", "ERR Lua redis lib command arguments must be strings or integers"
    end
  end
  if not kind then kind, value = ask(...) end
  if kind == "value" then return value end
  if kind == "status" then return { ok = value } end
  if kind ~= "error" then finish() end
  if protected then return { err = value } end
  error({ err = value }, 0)
end

local redis = {
  LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
  REPL_NONE = 0, REPL_AOF = 1, REPL_SLAVE = 2, REPL_REPLICA = 2, REPL_ALL = 3,
  REDIS_VERSION = "7.0.0", REDIS_VERSION_NUM = 0x00070000,
}

function redis.call(...) return perform(false, ...) end
function redis.pcall(...) return perform(true, ...) end
function redis.log() end
function redis.set_repl() end
function redis.breakpoint() return false end
function redis.debug() end
function redis.replicate_commands() return true end

function redis.setresp(version)
  if version ~= 2 and version ~= 3 then error({ err = "ERR RESP version must be 2 or 3." }, 0) end
  if version == 3 then error({ err = "ERR the proxy's scripts get replies as in RESP2: redis.setresp takes 2" }, 0) end
end

local function one_field(name, ...)
  local text = ...
  if select("#", ...) ~= 1 or type(text) ~= "string" then return { err = "ERR wrong number or type of arguments" } end
  if name == "err" then text = gsub(text, "^%-", "") end
  return { [name] = text }
end

function redis.error_reply(...) return one_field("err", ...) end
function redis.status_reply(...) return one_field("ok", ...) end

function redis.sha1hex(...)
  if select("#", ...) ~= 1 then error({ err = "ERR wrong number of arguments" }, 0) end
  local text = ...
  return sha1hex((type(text) == "string" or type(text) == "number") and tostring(text) or "")
end

-- names that a script may use ---------------------------------------------------------------------------------------

-- Errors of redis.call are tables. For pcall they become their text, as in Redis.
local function caught(ok, problem, ...)
  if not ok and type(problem) == "table" then
    local text = rawget(problem, "err")
    if type(text) == "string" or type(text) == "number" then return ok, text end
  end
  return ok, problem, ...
end

-- Of Lua's own xpcall the handler would run where a hook had raised the error, and no hook runs within a hook.
local function handled(handle, ok, ...)
  if ok then return ok, ... end
  return false, (select(2, pcall(handle, (...))))
end

function math.random(...)
  local count, first, last = select("#", ...), ...
  local drawn = draw()
  if count == 0 then return drawn end
  if count > 2 then error("wrong number of arguments", 2) end
  if count == 1 then first, last = 1, first end
  if type(first) ~= "number" or type(last) ~= "number" then error("bad argument to 'random' (number expected)", 2) end
  first, last = floor(first), floor(last)
  if first > last then error("bad argument #" .. count .. " to 'random' (interval is empty)", 2) end
  return floor(drawn * (last - first + 1)) + first
end

function math.randomseed(number) seed(tonumber(number) or 0) end

string.dump = nil
getmetatable("").__metatable = false

local names = {
  _VERSION = _VERSION, assert = assert, bit = bit, cjson = cjson, error = error, getmetatable = getmetatable, ipairs = ipairs, math = math,
  next = next, pairs = pairs, pcall = function(...) return caught(pcall(...)) end, rawequal = rawequal,
  rawget = rawget, rawset = rawset, redis = redis, select = select, server = redis, setmetatable = setmetatable,
  string = string, table = table, tonumber = tonumber, tostring = tostring, type = type, unpack = unpack,
  xpcall = function(run, handle) return handled(handle, pcall(run)) end, os = { clock = os.clock },
}

-- What a script of Redis has and one of the proxy's does not.
local absent = {
  cmsgpack = true, collectgarbage = true, coroutine = true, load = true, loadstring = true, struct = true,
}

local environment = setmetatable({}, {
  __index = function(_, name)
    local value = names[name]
    if absent[name] then
      error("the proxy's scripts do not have '" .. name .. "'; docs/use/redis.md says what they have", 2)
    end
    if value == nil then
      error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
    end
    return value
  end,
  __newindex = function() error("Attempt to modify a readonly table", 2) end,
  __metatable = false,
})
names._G = environment

-- replies -----------------------------------------------------------------------------------------------------------

local DEEPEST = 100

local function line(text) return (gsub(text, "[\r\n]", " ")) end

local function emit(pieces, value, shape, depth)
  local kind = type(value)
  if kind == "table" then
    if depth > DEEPEST then error("a reply has at most " .. DEEPEST .. " levels of tables", 0) end
    local problem, status, double = rawget(value, "err"), rawget(value, "ok"), rawget(value, "double")
    if type(problem) == "string" then
      pieces[#pieces + 1] = "-" .. line(problem) .. "\r\n"
    elseif type(status) == "string" then
      pieces[#pieces + 1] = "+" .. line(status) .. "\r\n"
    elseif type(double) == "number" then
      local text = format("%.17g", double)
      pieces[#pieces + 1] = shape.resp3 and "," .. text .. "\r\n" or "$" .. #text .. "\r\n" .. text .. "\r\n"
    else
      local head, count = #pieces + 1, 0
      pieces[head] = ""
      local item = rawget(value, 1)
      while item ~= nil do
        emit(pieces, item, shape, depth + 1)
        count = count + 1
        item = rawget(value, count + 1)
      end
      pieces[head] = "*" .. count .. "\r\n"
    end
  elseif kind == "string" then
    pieces[#pieces + 1] = "$" .. #value .. "\r\n"
    pieces[#pieces + 1] = value
    pieces[#pieces + 1] = "\r\n"
  elseif kind == "number" then
    pieces[#pieces + 1] = ":" .. format("%d", value) .. "\r\n"
  else
    pieces[#pieces + 1] = value == true and ":1\r\n" or shape.null
  end
end

-- What an error says, and in which line of the script it was.
local function handler(problem)
  local level, found = 2, getinfo(2, "Sl")
  while found and found.source ~= "@user_script" and level < 20 do
    level = level + 1
    found = getinfo(level, "Sl")
  end
  local text
  if type(problem) == "table" then
    text = rawget(problem, "err")
    if type(text) ~= "string" and type(text) ~= "number" then text = "ERR unknown error" end
  else
    text = "ERR " .. (type(problem) == "userdata" and "execution failure" or tostring(problem))
  end
  return { text = text, line = found and found.source == "@user_script" and found.currentline }
end

local REFUSED = "ERR Error compiling script (new function): "

local function check(source)
  local chunk, problem = loadstring(source, "@user_script")
  if chunk then return "done", "+OK\r\n" end
  return "failed", REFUSED .. problem
end

local function run(source, name, keys, arguments, null, resp3)
  local chunk, problem = loadstring(source, "@user_script")
  if not chunk then return "failed", REFUSED .. problem end
  names.KEYS, names.ARGV = keys, arguments
  setfenv(chunk, environment)
  sethook(function() over() finish() end, "", limit)
  local ok, value = xpcall(chunk, handler)
  if ok then
    local pieces = {}
    local whole, problem = pcall(emit, pieces, value, { null = null, resp3 = resp3 }, 0)
    if not whole then return "failed", "ERR " .. tostring(problem) end
    return "done", concat(pieces)
  end
  if type(value) ~= "table" then value = { text = "ERR " .. tostring(value) } end -- without memory, without the handler
  if not value.line then return "failed", value.text end
  return "failed", value.text .. " script: " .. name .. ", on @user_script:" .. value.line .. "."
end

return check, run
