#!/usr/bin/python3
"""Writes a test's Samba directory where it lies, server running or not: directory.py SMBCONF COMMAND ...

  users COUNT PREFIX        creates accounts below OU=Staff from lines "password" on standard input
  people                    adds accounts from lines "account<TAB>container<TAB>password" on standard input. Of their passwords
                            they have the hash alone, no Kerberos keys, which makes it ten times as fast as `users`
  passwords [hashes]        sets passwords from lines "account<TAB>password" on standard input, or their hashes alone
  grant ACCOUNT RIGHT...    rights: get-changes, get-changes-all (on the domain), deleted-objects (reading them)
  ldif                      applies change records from standard input, all or none of them
  bytes ACCOUNT ATTRIBUTE HEX   replaces a value that is no text
  password-time ACCOUNT TIME    says when the password was set, which no client may
  delete ACCOUNT
  recycle-bin               gives the forest its recycle bin
  recycle ACCOUNT           deletes it from the recycle bin, too
  guid ACCOUNT              prints its objectGUID
  guids                     prints "account<TAB>objectGUID" for all accounts
  sid ACCOUNT               prints its objectSid
  attribute ACCOUNT NAME    prints a value in base64, if there is one
  bad-passwords ACCOUNT     prints how many wrong passwords the domain counts against it
  hashes                    prints "account<TAB>hash" for all accounts that have one, as they lie in the database
  invocation-id UUID        gives the controller's database another incarnation (server stopped)
"""

import base64
import sys
import uuid

import ldb
from samba.auth import system_session
from samba.credentials import Credentials
from samba.dcerpc import security
from samba.ndr import ndr_pack, ndr_unpack
from samba.param import LoadParm
from samba.samdb import SamDB

RIGHTS = {
    "get-changes": "1131f6aa-9c07-11d1-f79f-00c04fc2dcd2",
    "get-changes-all": "1131f6ad-9c07-11d1-f79f-00c04fc2dcd2",
}
# The optional feature's GUID (MS-ADTS, section 6.1.1.2.4.1.3.1).
RECYCLE_BIN = "766ddcd8-acd0-445e-f3b9-a7f9b6744f2a"
BATCH = 200
# LDB_CHANGETYPE_MODRDN, which the bindings do not name.
CHANGETYPE_MODRDN = 4
# DSDB_CONTROL_PASSWORD_BYPASS_LAST_SET_OID, which only those have who hold the database's files.
PASSWORD_TIME_CONTROL = "local_oid:1.3.6.1.4.1.7165.4.3.12:0"
# DSDB_CONTROL_PASSWORD_HASH_VALUES_OID: unicodePwd is a hash already, as when accounts come from another directory.
PASSWORD_HASH_CONTROL = "local_oid:1.3.6.1.4.1.7165.4.3.9:0"


def lines():
    return [line.rstrip("\n") for line in sys.stdin]


def find(sam, account):
    (entry,) = sam.search(sam.get_default_basedn(), expression=f"(sAMAccountName={account})", attrs=["objectSid"])
    return entry


def grant(sam, name, aces):
    controls = ["show_deleted:1", "show_recycled:1"]
    (entry,) = sam.search(name, scope=ldb.SCOPE_BASE, attrs=["nTSecurityDescriptor"], controls=controls)
    descriptor = ndr_unpack(security.descriptor, entry["nTSecurityDescriptor"][0])
    for ace in aces:
        added = security.descriptor.from_sddl("D:" + ace, security.dom_sid(sam.get_domain_sid()))
        for part in added.dacl.aces:
            descriptor.dacl_add(part)
    change = ldb.Message(ldb.Dn(sam, name))
    change["x"] = ldb.MessageElement(ndr_pack(descriptor), ldb.FLAG_MOD_REPLACE, "nTSecurityDescriptor")
    sam.modify(change, controls=controls)


def in_batches(sam, items, work):
    for start in range(0, len(items), BATCH):
        sam.transaction_start()
        for item in items[start : start + BATCH]:
            work(item)
        sam.transaction_commit()


def apply(sam, kind, message):
    if kind == ldb.CHANGETYPE_ADD:
        sam.add(message)
    elif kind == ldb.CHANGETYPE_DELETE:
        sam.delete(message.dn)
    elif kind == CHANGETYPE_MODRDN:
        parent = str(message["newsuperior"]) if "newsuperior" in message else str(message.dn.parent())
        sam.rename(message.dn, ldb.Dn(sam, f"{message['newrdn']},{parent}"))
    else:
        sam.modify(message)


def nt_hash(password):
    credentials = Credentials()
    credentials.set_password(password)
    return bytes(credentials.get_nt_hash())


def account(name, unit, base):
    domain = base.replace("DC=", "").replace(",", ".")
    return {
        "dn": f"CN={name},{unit}", "objectClass": "user", "sAMAccountName": name,
        "userPrincipalName": f"{name}@{domain}", "mail": f"{name}@{domain}", "displayName": f"User {name}",
        "userAccountControl": "512",
    }


def password_value(password):
    return f'"{password}"'.encode("utf-16-le")


def main():
    parameters = LoadParm()
    parameters.load(sys.argv[1])
    command, arguments = sys.argv[2], sys.argv[3:]
    sam = SamDB(lp=parameters, session_info=system_session(parameters), url=parameters.private_path("sam.ldb"))
    base = str(sam.get_default_basedn())
    if command == "users":
        count, prefix = int(arguments[0]), arguments[1]
        unit = f"OU=Staff,{base}"
        if not sam.search(base, expression="(ou=Staff)", attrs=["ou"]):
            sam.add({"dn": unit, "objectClass": "organizationalUnit"})
        passwords = lines()

        def add(number):
            message = account(f"{prefix}{number}", unit, base)
            sam.add(message | {"unicodePwd": password_value(passwords[number])})

        in_batches(sam, list(range(count)), add)
    elif command == "people":

        def add(line):
            name, unit, password = line.split("\t", 2)
            message = account(name, f"{unit},{base}", base)
            sam.add(message | {"unicodePwd": nt_hash(password)}, [PASSWORD_HASH_CONTROL])

        in_batches(sam, lines(), add)
    elif command == "passwords":

        def change(line):
            name, password = line.split("\t", 1)
            message = ldb.Message(find(sam, name).dn)
            value = nt_hash(password) if arguments else password_value(password)
            message["x"] = ldb.MessageElement(value, ldb.FLAG_MOD_REPLACE, "unicodePwd")
            sam.modify(message, controls=[PASSWORD_HASH_CONTROL] if arguments else [])

        in_batches(sam, lines(), change)
    elif command == "grant":
        sid = ndr_unpack(security.dom_sid, find(sam, arguments[0])["objectSid"][0])
        for right in arguments[1:]:
            if right == "deleted-objects":
                grant(sam, f"CN=Deleted Objects,{base}", [f"(A;CI;LCRP;;;{sid})"])
            else:
                grant(sam, base, [f"(OA;;CR;{RIGHTS[right]};;{sid})"])
    elif command == "ldif":
        sam.transaction_start()
        for kind, message in sam.parse_ldif(sys.stdin.read()):
            apply(sam, kind, message)
        sam.transaction_commit()
    elif command in ("bytes", "password-time"):
        message = ldb.Message(find(sam, arguments[0]).dn)
        if command == "bytes":
            attribute, value, controls = arguments[1], bytes.fromhex(arguments[2]), []
        else:
            attribute, value, controls = "pwdLastSet", arguments[1], [PASSWORD_TIME_CONTROL]
        message["x"] = ldb.MessageElement(value, ldb.FLAG_MOD_REPLACE, attribute)
        sam.modify(message, controls=controls)
    elif command == "delete":
        sam.delete(find(sam, arguments[0]).dn)
    elif command == "recycle-bin":
        message = ldb.Message(ldb.Dn(sam, ""))
        value = f"CN=Partitions,{sam.get_config_basedn()}:{RECYCLE_BIN}"
        message["x"] = ldb.MessageElement(value, ldb.FLAG_MOD_ADD, "enableOptionalFeature")
        sam.modify(message)
    elif command == "recycle":
        (entry,) = sam.search(base, expression=f"(sAMAccountName={arguments[0]})", attrs=["objectGUID"])
        guid = uuid.UUID(bytes_le=bytes(entry["objectGUID"][0]))
        sam.delete(entry.dn)
        sam.delete(f"<GUID={guid}>", ["show_deleted:1", "show_recycled:1"])
    elif command == "guid":
        (entry,) = sam.search(base, expression=f"(sAMAccountName={arguments[0]})", attrs=["objectGUID"])
        print(uuid.UUID(bytes_le=bytes(entry["objectGUID"][0])))
    elif command == "guids":
        found = sam.search(base, expression="(&(objectClass=user)(sAMAccountName=*))", attrs=["sAMAccountName", "objectGUID"])
        for entry in found:
            print(f"{entry['sAMAccountName']}\t{uuid.UUID(bytes_le=bytes(entry['objectGUID'][0]))}")
    elif command == "sid":
        print(ndr_unpack(security.dom_sid, find(sam, arguments[0])["objectSid"][0]))
    elif command == "attribute":
        (entry,) = sam.search(base, expression=f"(sAMAccountName={arguments[0]})", attrs=[arguments[1]])
        if arguments[1] in entry:
            print(base64.b64encode(bytes(entry[arguments[1]][0])).decode())
    elif command == "bad-passwords":
        (entry,) = sam.search(base, expression=f"(sAMAccountName={arguments[0]})", attrs=["badPwdCount"])
        print(entry.get("badPwdCount", [b"0"])[0].decode())
    elif command == "hashes":
        found = sam.search(base, expression="(sAMAccountName=*)", attrs=["sAMAccountName", "unicodePwd"])
        for entry in found:
            if "unicodePwd" in entry:
                print(f"{entry['sAMAccountName']}\t{bytes(entry['unicodePwd'][0]).hex()}")
    elif command == "invocation-id":
        message = ldb.Message(ldb.Dn(sam, sam.get_dsServiceName()))
        value = ndr_pack(__import__("samba.dcerpc.misc", fromlist=["GUID"]).GUID(str(uuid.UUID(arguments[0]))))
        message["x"] = ldb.MessageElement(value, ldb.FLAG_MOD_REPLACE, "invocationId")
        sam.modify(message, controls=["relax:0"])
    else:
        sys.exit(__doc__)


main()
