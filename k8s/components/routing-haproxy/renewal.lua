-- A renewed certificate without a restart: HAProxy reads its files once, so this reads them again every 10 s and hands
-- over what is new by HAProxy's own commands, which refuse a key that does not fit.
local FILE = "/run/secrets/reward/tls/gateway.pem"
local served

local function text(path)
  local file = assert(io.open(path))
  local content = file:read("a")
  file:close()
  return content
end

local function tell(command)
  local admin = core.tcp()
  assert(admin:connect("127.0.0.1", 8405))
  admin:send(command .. "\n")
  local answer = admin:receive("*a")
  admin:close()
  return answer
end

local function renew()
  local pair = (text(FILE) .. "\n" .. text(FILE .. ".key")):gsub("\n+", "\n") -- an empty line would end it
  if pair ~= served then
    tell("set ssl cert " .. FILE .. " <<\n" .. pair)
    local answer = tell("commit ssl cert " .. FILE)
    assert(answer:find("Success"), answer)
    served = pair
  end
end

core.register_task(function()
  while true do
    local done, fault = pcall(renew)
    if not done then
      core.Alert("certificate: " .. fault)
    end
    core.sleep(10)
  end
end)
