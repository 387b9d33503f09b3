"""Reads all hashes of a domain with impacket, an independent client of the same protocol:
impacket_hashes.py ADDRESS NETBIOS-DOMAIN ACCOUNT PASSWORD DC=...

Prints "account<TAB>hash".
"""

import sys

from impacket.dcerpc.v5 import drsuapi, epm, transport
from impacket.dcerpc.v5.dtypes import NULL
from impacket.dcerpc.v5.rpcrt import RPC_C_AUTHN_LEVEL_PKT_PRIVACY

# impacket reads a page's list of objects by recursion: pages stay small.
PAGE = 40
NAME, PASSWORD = "1.2.840.113556.1.4.221", "1.2.840.113556.1.4.90"
# The same by the prefix table that everybody has (MS-DRSR, section 5.16.4): no other attribute is asked for.
ASKED = [0x900DD, 0x9005A]


def bind(connection):
    request = drsuapi.DRSBind()
    request["puuidClientDsa"] = drsuapi.NTDSAPI_CLIENT_GUID
    own = drsuapi.DRS_EXTENSIONS_INT()
    own["cb"] = len(own)
    own["dwFlags"] = (
        drsuapi.DRS_EXT_GETCHGREQ_V6 | drsuapi.DRS_EXT_GETCHGREPLY_V6 | drsuapi.DRS_EXT_GETCHGREQ_V8 | drsuapi.DRS_EXT_STRONG_ENCRYPTION
    )
    for field in ("SiteObjGuid", "ConfigObjGUID"):
        own[field] = drsuapi.NULLGUID
    for field in ("Pid", "dwReplEpoch", "dwFlagsExt", "dwExtCaps"):
        own[field] = 0
    request["pextClient"]["cb"] = len(own)
    request["pextClient"]["rgb"] = list(own.getData())
    return connection.request(request)["phDrs"]


def page(connection, handle, base, watermark):
    request = drsuapi.DRSGetNCChanges()
    request["hDrs"] = handle
    request["dwInVersion"] = 8
    request["pmsgIn"]["tag"] = 8
    message = request["pmsgIn"]["V8"]
    message["uuidDsaObjDest"] = drsuapi.NTDSAPI_CLIENT_GUID
    message["uuidInvocIdSrc"] = drsuapi.NULLGUID
    name = drsuapi.DSNAME()
    name["SidLen"] = 0
    name["Guid"] = drsuapi.NULLGUID
    name["Sid"] = ""
    name["NameLen"] = len(base)
    name["StringName"] = base + "\0"
    name["structLen"] = len(name.getData())
    message["pNC"] = name
    if watermark is None:
        message["usnvecFrom"]["usnHighObjUpdate"] = 0
        message["usnvecFrom"]["usnHighPropUpdate"] = 0
    else:
        message["uuidInvocIdSrc"], message["usnvecFrom"] = watermark
    message["pUpToDateVecDest"] = NULL
    message["ulFlags"] = drsuapi.DRS_INIT_SYNC | drsuapi.DRS_WRIT_REP
    message["cMaxObjects"] = PAGE
    message["cMaxBytes"] = 0
    message["ulExtendedOp"] = 0
    message["pPartialAttrSet"]["dwVersion"] = 1
    message["pPartialAttrSet"]["cAttrs"] = len(ASKED)
    for identifier in ASKED:
        attribute = drsuapi.ATTRTYP()
        attribute["Data"] = identifier
        message["pPartialAttrSet"]["rgPartialAttr"].append(attribute)
    message["pPartialAttrSetEx1"] = NULL
    message["PrefixTableDest"]["pPrefixEntry"] = NULL
    return connection.request(request)["pmsgOut"]["V6"]


def objects(reply):
    item = reply["pObjects"] if reply["cNumObjects"] else None
    while item:
        yield item["Entinf"]
        item = item["pNextEntInf"]


def main():
    address, domain, account, password, base = sys.argv[1:]
    binding = epm.hept_map(address, drsuapi.MSRPC_UUID_DRSUAPI, protocol="ncacn_ip_tcp")
    channel = transport.DCERPCTransportFactory(binding)
    channel.set_credentials(account, password, domain)
    connection = channel.get_dce_rpc()
    connection.set_auth_level(RPC_C_AUTHN_LEVEL_PKT_PRIVACY)
    connection.connect()
    connection.bind(drsuapi.MSRPC_UUID_DRSUAPI)
    handle = bind(connection)
    watermark = None
    while True:
        reply = page(connection, handle, base, watermark)
        prefixes = reply["PrefixTableSrc"]["pPrefixEntry"]
        for entry in objects(reply):
            name = secret = None
            for attribute in entry["AttrBlock"]["pAttr"]:
                try:
                    kind = drsuapi.OidFromAttid(prefixes, attribute["attrTyp"])
                except Exception:
                    continue
                if not attribute["AttrVal"]["valCount"]:
                    continue
                value = b"".join(attribute["AttrVal"]["pAVal"][0]["pVal"])
                if kind == NAME:
                    name = value.decode("utf-16-le")
                elif kind == PASSWORD:
                    secret = drsuapi.DecryptAttributeValue(connection, value)
            if name and secret:
                relative_id = int.from_bytes(entry["pName"]["Sid"][:28][24:28], "little")
                print(name + "\t" + drsuapi.removeDESLayer(secret, relative_id).hex())
        if not reply["fMoreData"]:
            return
        watermark = (reply["uuidInvocIdSrc"], reply["usnvecTo"])


main()
