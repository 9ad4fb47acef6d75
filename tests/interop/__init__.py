"""The interoperability matrix: what foreign peers and the two sides of ours do with each other.

As **user** a peer asks our side; as **provider** our user side (`broker.dicom.association.user`) asks the peer.
Our provider is the broker as it is run (echo, worklist, store; marked B) and an archive on its wire library
(`support.dicom.archive`; marked A).

========================  =======  ======  ======  ======  =====  ==========================================  ========
peer                      echo     store   find    move    get    N-services                                  worklist
========================  =======  ======  ======  ======  =====  ==========================================  ========
DCMTK 3.6.7 user          A B      A B     A       A       A      print: CREATE SET ACTION GET DELETE         B
DCMTK 3.6.7 provider      yes      yes     yes     yes     yes    print: CREATE SET ACTION GET DELETE         yes
Orthanc 1.10.1 user       A B      A B     A       A       1      commitment: ACTION, takes EVENT-REPORT      B
Orthanc 1.10.1 provider   yes      yes     yes     yes     yes    commitment: ACTION, sends EVENT-REPORT      yes
pynetdicom 3.0 user       A B      A B     A       A       A      all six                                     B
pynetdicom 3.0 provider   yes      yes     yes     yes     yes    all six                                     as find
GDCM 3.0.21 user          A B      A B     A (2)   A       3      none                                        3
GDCM 3.0.21 provider      no SCP   yes     no SCP  no SCP  no     none                                        no SCP
dcmjs-dimse 0.3 user      A B      A B     A       A       A      all six                                     B (4)
dcmjs-dimse 0.3 provider  yes      yes     yes     yes     yes    all six                                     as find
odil 0.12 user            A B      A B     A       A       A      SET (5)                                     B
odil 0.12 provider        yes      yes     yes     yes     yes    CREATE SET                                  as find
PixelMed 2022 user        A B      A B     A       A       A      none                                        B
PixelMed 2022 provider    yes      yes     yes     yes     yes    none                                        none
========================  =======  ======  ======  ======  =====  ==========================================  ========

1. Orthanc is a user of C-GET in newer versions only.
2. gdcmscu aborts itself when its release is answered, by any provider, before it shows what it found.
3. `gdcmscu --get` ends before it connects; `--worklist` asks for `--patientroot` or `--studyroot` and ends.
4. Its default request asks for Pregnancy Status 0, since it writes an empty US as a zero; the test leaves the key out.
5. The instance is set; the response odil cannot read, as it looks for Requested instead of Affected SOP Class UID.

Every storage SOP class in every transfer syntax of PS3.6, and an object of each syntax byte by byte, pass between
pynetdicom and both of our sides (`test_syntaxes`); DCMTK and Orthanc get what they know. Roles, window, identity,
extended negotiation and C-CANCEL: `test_negotiation`. Queries as devices send them, and names of many scripts:
`test_worklist_queries`.
"""
